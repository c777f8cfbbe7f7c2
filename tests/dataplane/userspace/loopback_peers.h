// Plain TCP peers on loopback for the tests of the forwarder: blocking, a thread for each.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/ip.h"
#include "net/fd.h"

namespace fairlead::dataplane::userspace {

// A blocking socket, with a limit of 20 s for everything.
net::Fd dial(const SocketAddress& to);  // none: it failed, see errno

bool send_all(int fd, std::string_view data);
std::string receive_all(int fd);  // up to the end or an error

// `size` bytes that differ from each other as far as `seed` does.
std::string pattern(size_t size, uint32_t seed);

// Accepts on 127.0.0.1 and runs `handle` with each connection, on a thread of its own.
class LoopbackServer {
 public:
  using Handler = std::function<void(int fd)>;
  explicit LoopbackServer(Handler handle);
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  const SocketAddress& address() const { return address_; }
  int accepted() const { return accepted_; }

 private:
  Handler handle_;
  net::Fd listener_;
  SocketAddress address_;
  std::atomic<int> accepted_ = 0;
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> talks_;  // of thread_
  std::thread thread_;
};

// An address on which nobody listens.
SocketAddress refusing_address();

// Waits up to 10 s for `condition`.
bool eventually(const std::function<bool()>& condition);

size_t open_files();  // of this process

}  // namespace fairlead::dataplane::userspace
