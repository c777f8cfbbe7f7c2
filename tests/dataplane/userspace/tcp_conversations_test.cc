// Random conversations, many at once: whatever two peers say to each other, in whatever order they
// end, through the forwarder they hear what they would hear without it.
#include <cstring>
#include <mutex>
#include <random>

#include "base/text.h"
#include "tests/dataplane/userspace/tcp_lab.h"

namespace fairlead::dataplane::userspace {
namespace {

enum class End { in_order, client_resets, server_resets };

// Both sides know the plan by its seed, which is the first thing that the client says.
struct Plan {
  explicit Plan(uint32_t number) : seed(number) {
    std::mt19937 random(number);
    const auto size = [&] {
      const uint32_t kind = random() % 4;
      return kind == 0   ? size_t{0}
             : kind == 1 ? size_t{random() % 100}
             : kind == 2 ? size_t{random() % 40'000}
                         : size_t{random() % 400'000};
    };
    const uint32_t dice = random() % 6;
    end = dice == 0 ? End::client_resets : dice == 1 ? End::server_resets : End::in_order;
    // A reset comes from the side that has just heard something: it may overtake what was said.
    const size_t turns = 2 * (random() % 4) + (end == End::client_resets   ? 2
                                               : end == End::server_resets ? 1
                                                                           : 0);
    for (size_t i = 0; i < turns; ++i) sizes.push_back(1 + size());
    last_request = size();
    last_answer = size();
    server_speaks_first = random() % 3 == 0;
    chunk = 1 + random() % 70'000;
    pause = random() % 3 == 0;
  }

  uint32_t seed;
  End end;
  std::vector<size_t> sizes;  // request, answer, request, ...
  // Said without being asked, then each side ends.
  size_t last_request, last_answer;
  bool server_speaks_first;
  size_t chunk;  // as much as is said at once
  bool pause;    // between chunks
};

bool say(int fd, const Plan& plan, size_t size, uint32_t seed) {
  const std::string data = pattern(size, seed);
  for (size_t at = 0; at < data.size(); at += plan.chunk) {
    if (!send_all(fd, std::string_view(data).substr(at, plan.chunk))) return false;
    if (plan.pause) std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

bool hear(int fd, size_t size, uint32_t seed) {
  std::string out(size, ' ');
  for (size_t at = 0; at < size;) {
    const ssize_t got = ::recv(fd, out.data() + at, size - at, 0);
    if (got == 0) errno = 0;
    if (got <= 0) return false;
    at += static_cast<size_t>(got);
  }
  return out == pattern(size, seed);
}

// One side of a plan. "": all was as planned.
class Side {
 public:
  Side(int fd, const Plan& plan, bool client) : fd_(fd), plan_(plan), client_(client) {}

  std::string play() {
    for (size_t i = 0; i < plan_.sizes.size(); ++i) {
      const bool mine = (i % 2 == 0) == client_;
      const auto seed = static_cast<uint32_t>(plan_.seed + i);
      if (mine ? !say(fd_, plan_, plan_.sizes[i], seed) : !hear(fd_, plan_.sizes[i], seed)) {
        return cat(mine ? "cannot say " : "does not hear ", i, " of ", plan_.sizes.size(), ", ",
                   plan_.sizes[i], " bytes: ", std::strerror(errno));
      }
    }
    if (plan_.end == End::in_order) return end_in_order();
    const bool mine = (plan_.end == End::client_resets) == client_;
    if (mine) {
      reset_at_close(fd_);
      return "";
    }
    char byte;
    return ::recv(fd_, &byte, 1, 0) < 0 && errno == ECONNRESET ? "" : "hears no reset";
  }

 private:
  std::string end_in_order() {
    const size_t my_size = client_ ? plan_.last_request : plan_.last_answer;
    const size_t their_size = client_ ? plan_.last_answer : plan_.last_request;
    const bool first = plan_.server_speaks_first != client_;
    const auto speak = [&] {
      const bool said = say(fd_, plan_, my_size, plan_.seed + 1000 + client_);
      ::shutdown(fd_, SHUT_WR);
      return said;
    };
    if (first && !speak()) return "cannot say its last";
    if (receive_all(fd_) != pattern(their_size, plan_.seed + 1000 + !client_)) {
      return "does not hear the last";
    }
    return first || speak() ? "" : "cannot answer its last";
  }

  const int fd_;
  const Plan& plan_;
  const bool client_;
};

TEST_F(TcpForwarding, RandomConversationsAreHeardAsTheyAreSaid) {
  constexpr uint32_t talkers = 6, each = 40;
  std::atomic<uint32_t> wrong = 0, held = 0;
  std::mutex mutex;
  std::string all_wrong;
  const auto note = [&](const Plan& plan, std::string_view who, const std::string& what) {
    ++held;
    if (what.empty()) return;
    const std::lock_guard lock(mutex);
    if (wrong++ < 8) append(all_wrong, cat("plan ", plan.seed, ": the ", who, " ", what, "\n"));
  };
  LoopbackServer server([&](int fd) {
    uint32_t seed = 0;
    if (::recv(fd, &seed, sizeof seed, MSG_WAITALL) != sizeof seed) return;
    const Plan plan(seed);
    note(plan, "server", Side(fd, plan, false).play());
  });
  begin({server.address()});
  EXPECT_TRUE(idle());
  const size_t before = open_files();
  std::vector<std::thread> threads;
  for (uint32_t talker = 0; talker < talkers; ++talker) {
    threads.emplace_back([&, talker] {
      for (uint32_t i = 0; i < each; ++i) {
        const uint32_t seed = 10'000 * talker + i;
        const Plan plan(seed);
        const net::Fd fd = dial(address_);
        ::send(fd.get(), &seed, sizeof seed, MSG_NOSIGNAL);
        note(plan, "client", Side(fd.get(), plan, true).play());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(eventually([&] { return held == 2 * talkers * each; })) << held;
  EXPECT_EQ(wrong, 0u) << all_wrong;
  EXPECT_TRUE(idle());
  // Pipes that are kept for those who come next.
  EXPECT_TRUE(eventually([&] { return open_files() <= before + 2 * 64; })) << open_files();
  EXPECT_EQ(metrics_.accepted.value(), talkers * each);
  EXPECT_EQ(metrics_.connect_failures.value(), 0u);
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
