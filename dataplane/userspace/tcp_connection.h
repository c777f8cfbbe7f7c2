// TcpConnection: a client's connection and the one made for it to a backend.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "dataplane/userspace/forwarding.h"
#include "dataplane/userspace/stream.h"
#include "net/fd.h"

namespace fairlead::dataplane::userspace {

// Belongs to the loop of `with`.
class TcpConnection {
 public:
  struct Start {
    net::Fd client;
    ConnectionSide from;
    std::shared_ptr<const NamedRule> rule;
    std::span<const Backend> backends;  // of that rule, not empty
  };
  TcpConnection(const Forwarding& with, PipePool& pipes, Start start);
  ~TcpConnection();
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;

  // `over` is called once, when all is done, perhaps at once: it may destroy this.
  void begin(std::function<void()> over);

  const ConnectionSide& from() const { return start_.from; }
  std::optional<ConnectionSide> to_backend() const;

 private:
  void try_backend();
  void connected(bool back);  // `back`: it may have said something
  void next_backend();
  void client_ready(uint32_t events);
  void backend_ready(uint32_t events);
  void pump(bool forth, bool back);
  void update_watches();
  void watch_client(uint32_t events);
  void watch_backend(uint32_t events);
  void abort();  // both sides get RST
  void end();    // nothing of this is touched afterwards

  const Forwarding& with_;
  PipePool& pipes_;
  Start start_;
  std::function<void()> over_;
  size_t choice_ = 0;
  size_t attempts_ = 0;
  bool open_ = false;  // the backend has answered
  net::Fd backend_;
  net::Timer deadline_;  // for the backend's answer; then until its silence is looked into
  net::Watch client_watch_, backend_watch_;
  Stream forth_, back_;
};

}  // namespace fairlead::dataplane::userspace
