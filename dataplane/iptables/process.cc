#include "dataplane/iptables/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/text.h"
#include "net/fd.h"

namespace fairlead::dataplane::ipt {
namespace {

constexpr size_t max_errors_bytes = 4096;
constexpr char search_path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// A file in memory: the child reads it at its own pace and nobody waits for it.
Result<net::Fd> input_file(std::string_view text) {
  net::Fd fd(::memfd_create("iptables-restore", MFD_CLOEXEC));
  if (!fd) return fail(cat("memfd_create: ", std::strerror(errno)));
  while (!text.empty()) {
    const ssize_t size = ::write(fd.get(), text.data(), text.size());
    if (size < 0) return fail(cat("write to memory: ", std::strerror(errno)));
    text.remove_prefix(static_cast<size_t>(size));
  }
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

struct Pipe {
  net::Fd read, write;
};

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return fail(cat("pipe: ", std::strerror(errno)));
  return Pipe{net::Fd(fds[0]), net::Fd(fds[1])};
}

class Child {
 public:
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  // The descriptors become 0, 1 and 2 of the child.
  Result<void> start(const std::vector<std::string>& command, const std::array<int, 3>& fds) {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 3; ++i) {
      ::posix_spawn_file_actions_adddup2(&actions, fds[static_cast<size_t>(i)], i);
    }
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes, &signals);  // what the agent blocks, it need not
    ::sigaddset(&signals, SIGPIPE);
    ::posix_spawnattr_setsigdefault(&attributes, &signals);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    char locale[] = "LC_ALL=C", path[sizeof search_path];
    std::memcpy(path, search_path, sizeof search_path);
    char* environment[] = {path, locale, nullptr};
    const int error =
        ::posix_spawnp(&pid_, arguments[0], &actions, &attributes, arguments.data(), environment);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (error == 0) return {};
    pid_ = -1;
    return fail(cat(command.front(), " cannot be started: ", std::strerror(error)));
  }

  // Nothing while it runs.
  std::optional<int> ended() {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
};

}  // namespace

Result<ProcessEnd> run_process(const std::vector<std::string>& command, std::string_view input,
                               Duration limit,
                               const std::function<void(std::string_view)>& output) {
  const MonoTime deadline = std::chrono::steady_clock::now() + limit;
  const auto left_ms = [&] {
    const auto left = deadline - std::chrono::steady_clock::now();
    return static_cast<int>(
        std::max<int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(left).count()));
  };
  FL_TRY(net::Fd in, input_file(input));
  FL_TRY(Pipe out, make_pipe());
  FL_TRY(Pipe err, make_pipe());
  Child child;
  FL_TRY_VOID(child.start(command, {in.get(), out.write.get(), err.write.get()}));
  out.write.reset();
  err.write.reset();
  ProcessEnd end;
  const auto late = [&] {
    return fail(cat(command.front(), ": no end after ",
                    std::chrono::duration_cast<std::chrono::milliseconds>(limit).count(),
                    " ms; killed"));
  };
  while (out.read || err.read) {
    pollfd ready[] = {{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}};
    const int left = left_ms();
    if (left == 0) return late();
    if (::poll(ready, 2, left) <= 0) continue;
    char buffer[64 * 1024];
    for (Pipe* pipe : {&out, &err}) {
      if (ready[pipe == &out ? 0 : 1].revents == 0) continue;
      const ssize_t size = ::read(pipe->read.get(), buffer, sizeof buffer);
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) {
        pipe->read.reset();
      } else if (pipe == &out) {
        output({buffer, static_cast<size_t>(size)});
      } else {
        const size_t room = max_errors_bytes - end.errors.size();
        end.errors.append(buffer, std::min(static_cast<size_t>(size), room));
      }
    }
  }
  // Its ends of the pipes are closed: it is about to end.
  std::optional<int> status;
  while (!(status = child.ended())) {
    if (left_ms() == 0) return late();
    ::poll(nullptr, 0, 1);
  }
  if (WIFSIGNALED(*status)) {
    return fail(cat(command.front(), ": killed by signal ", WTERMSIG(*status)));
  }
  end.exit_code = WEXITSTATUS(*status);
  return end;
}

}  // namespace fairlead::dataplane::ipt
