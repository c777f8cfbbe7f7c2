#include "tests/dataplane/userspace/loopback_peers.h"

#include <poll.h>
#include <sys/socket.h>

#include <filesystem>

#include "net/socket.h"

namespace fairlead::dataplane::userspace {
namespace {

void set_limit(int fd) {
  const timeval time{20, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

net::Fd listen_blocking() {
  const net::RawAddress any = net::to_raw({Ip::v4(0x7f000001), 0});
  net::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ::bind(fd.get(), any.get(), any.size);
  return fd;
}

}  // namespace

net::Fd dial(const SocketAddress& to) {
  const net::RawAddress raw = net::to_raw(to);
  net::Fd fd(::socket(raw.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_limit(fd.get());
  if (::connect(fd.get(), raw.get(), raw.size) != 0) return {};
  return fd;
}

bool send_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t sent = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string receive_all(int fd) {
  std::string out;
  std::vector<char> buffer(1 << 16);
  for (;;) {
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got <= 0) return out;
    out.append(buffer.data(), static_cast<size_t>(got));
  }
}

std::string pattern(size_t size, uint32_t seed) {
  std::string out(size, '\0');
  uint32_t state = seed * 2654435761u + 1;
  for (char& byte : out) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<char>(state >> 24);
  }
  return out;
}

LoopbackServer::LoopbackServer(Handler handle)
    : handle_(std::move(handle)),
      listener_(listen_blocking()),
      address_(*net::local_address(listener_.get())) {
  ::listen(listener_.get(), 1024);
  thread_ = std::thread([this] {
    while (!stop_) {
      pollfd ready{listener_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 20) <= 0) continue;
      const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      set_limit(fd);
      ++accepted_;
      talks_.emplace_back([this, fd] {
        const net::Fd owner(fd);
        handle_(fd);
      });
      if (talks_.size() < 64) continue;  // short ones: not a thread for each of thousands
      for (std::thread& talk : talks_) talk.join();
      talks_.clear();
    }
    for (std::thread& talk : talks_) talk.join();
  });
}

LoopbackServer::~LoopbackServer() {
  stop_ = true;
  thread_.join();
}

SocketAddress refusing_address() { return *net::local_address(listen_blocking().get()); }

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return condition();
}

size_t open_files() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

}  // namespace fairlead::dataplane::userspace
