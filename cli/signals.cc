#include "cli/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "base/check.h"

namespace fairlead::cli {

StopSignals::StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  CHECK(sigprocmask(SIG_BLOCK, &set, nullptr) == 0);
  fd_ = net::Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  CHECK(fd_);
}

net::Watch StopSignals::watch(net::EventLoop& loop, std::function<void()> stop) {
  return loop.watch(fd_.get(), EPOLLIN, [this, stop = std::move(stop)](uint32_t) {
    signalfd_siginfo info;
    [[maybe_unused]] const ssize_t got = ::read(fd_.get(), &info, sizeof info);
    stop();
  });
}

void StopSignals::wait() {
  pollfd poll{fd_.get(), POLLIN, 0};
  while (::poll(&poll, 1, -1) < 0) {
  }
}

}  // namespace fairlead::cli
