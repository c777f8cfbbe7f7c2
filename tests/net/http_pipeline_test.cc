// Requests that are sent one behind the other, to handlers that answer when they like: every
// request gets its answer, in order, also from a client that has stopped sending.
#include <deque>
#include <random>

#include "net/http_parser.h"
#include "tests/net/raw_client.h"

namespace fairlead::net {
namespace {

enum class Way { send, stream };

// How one request is answered, and what its answer must be.
struct Plan {
  Way way = Way::send;
  int turns = 0;  // of the loop, until the handler answers; 0 = inside the handler
  size_t bytes = 0;

  std::string body(size_t number) const {
    return cat(number, ":") + std::string(bytes, static_cast<char>('a' + number % 26));
  }
};

void answer(const Plan& plan, size_t number, Responder& responder) {
  const std::string body = plan.body(number);
  if (plan.way == Way::send) return responder.send(HttpResponse::text(200, body));
  responder.start({});
  responder.write(std::string_view(body).substr(0, body.size() / 2));
  responder.write(std::string_view(body).substr(body.size() / 2));
  responder.finish();
}

class Exchange {
 public:
  Exchange(Transport transport, std::vector<Plan> plans)
      : plans_(std::move(plans)),
        rig_(transport, [this](HttpRequest request, std::unique_ptr<Responder> responder) {
          const auto number = static_cast<size_t>(*parse_int(request.target.substr(1), 0));
          if (plans_[number].turns == 0) return answer(plans_[number], number, *responder);
          EXPECT_EQ(held_, nullptr) << "the answer before this one is still to come";
          held_ = std::move(responder);
          held_number_ = number;
          turns_left_ = plans_[number].turns;
        }) {
    auto fd = transport == Transport::unix_socket ? start_connect_unix(rig_.target.unix_path)
                                                  : start_connect(rig_.address);
    fd_ = std::move(fd.value());
    for (size_t i = 0; i < plans_.size(); ++i) {
      fairlead::append(unsent_, cat("GET /", i, " HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
  }

  // Until the server has closed; pieces of random size in both directions.
  void run(std::mt19937& random) {
    std::string pending;
    for (int i = 0; i < 200'000 && !closed_; ++i) {
      send(random() % 200);
      if (random() % 3 == 0) receive(random() % 200'000, pending);
      rig_.loop.run_once(Duration::zero());
      if (held_ && --turns_left_ <= 0) answer(plans_[held_number_], held_number_, *release());
    }
    EXPECT_TRUE(closed_) << "the server has not closed";
    EXPECT_EQ(pending, "") << "the last answer is cut off";
  }

  std::vector<std::string> bodies;

 private:
  std::unique_ptr<Responder> release() { return std::move(held_); }

  void send(size_t bytes) {
    if (unsent_.empty()) return;
    const size_t take = std::min(bytes, unsent_.size());
    const ssize_t sent = ::send(fd_.get(), unsent_.data(), take, MSG_NOSIGNAL);
    if (sent > 0) unsent_.erase(0, static_cast<size_t>(sent));
    if (unsent_.empty()) ::shutdown(fd_.get(), SHUT_WR);
  }

  void receive(size_t at_most, std::string& pending) {
    std::string buffer(at_most + 1, '\0');
    const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) {
      EXPECT_EQ(errno, EAGAIN) << "the connection was reset";
      closed_ = errno != EAGAIN;
      return;
    }
    closed_ = got == 0;
    pending.append(buffer, 0, static_cast<size_t>(got));
    for (size_t used = 1; used > 0 && !pending.empty();) {
      used = parser_.feed(pending, body_);
      pending.erase(0, used);
      ASSERT_NE(parser_.state(), HttpParser::State::failed) << parser_.error();
      if (parser_.state() != HttpParser::State::done) continue;
      bodies.push_back(std::exchange(body_, {}));
      parser_.reset();
    }
  }

  std::vector<Plan> plans_;
  std::unique_ptr<Responder> held_;
  size_t held_number_ = 0;
  int turns_left_ = 0;
  HttpRig rig_;
  Fd fd_;
  std::string unsent_, body_;
  bool closed_ = false;
  HttpParser parser_{HttpParser::Kind::response, {}};
};

void expect_every_answer(Transport transport, const std::vector<Plan>& plans,
                         std::mt19937& random) {
  Exchange exchange(transport, plans);
  exchange.run(random);
  ASSERT_EQ(exchange.bodies.size(), plans.size());
  for (size_t i = 0; i < plans.size(); ++i) {
    EXPECT_TRUE(exchange.bodies[i] == plans[i].body(i))
        << "answer " << i << " has " << exchange.bodies[i].size() << " bytes";
  }
}

// More than the server queues before it handles the next request, and more than a socket takes.
constexpr size_t large = 9'000'000;

struct Row {
  std::string name;
  std::vector<Plan> plans;
};

TEST(HttpPipeline, PeerThatStopsSendingGetsAnswersToAllThatItSent) {
  const Row table[] = {
      {"answered at once", {{}, {}, {}}},
      {"a large answer, then more", {{Way::send, 0, large}, {Way::send, 0, 5}, {}}},
      {"a large answer later, then more", {{Way::send, 5, large}, {Way::send, 0, 5}, {}}},
      {"a large stream", {{Way::stream, 0, large}, {Way::stream, 0, 3}}},
      {"a stream that begins when the peer has stopped", {{Way::stream, 50, 10}}},
      {"a large stream then", {{Way::stream, 50, large}}},
      {"one stream behind the other then", {{Way::stream, 50, 10}, {Way::stream, 50, 10}, {}}},
  };
  for (const Row& row : table) {
    for (const Transport transport : {Transport::tcp, Transport::unix_socket}) {
      SCOPED_TRACE(cat(row.name, " over ", transport_name(transport)));
      std::mt19937 random(1);
      expect_every_answer(transport, row.plans, random);
    }
  }
}

TEST(HttpPipeline, EveryMixtureOfHandlersAnswersInOrder) {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    std::mt19937 random(seed);
    std::vector<Plan> plans(1 + random() % 8);
    for (Plan& plan : plans) {
      constexpr size_t sizes[] = {0, 1, 65'535, 65'537, 1'500'000};
      plan = {random() % 2 == 0 ? Way::send : Way::stream, static_cast<int>(random() % 20),
              sizes[random() % std::size(sizes)]};
    }
    expect_every_answer(random() % 2 == 0 ? Transport::tcp : Transport::unix_socket, plans, random);
  }
}

}  // namespace
}  // namespace fairlead::net
