// One thread of the ingress: its listeners, its loop, its connections.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "base/log.h"
#include "ingress/core.h"
#include "ingress/tls_acceptor.h"
#include "net/fd.h"

namespace fairlead::ingress {

// Set up on one thread, then start(); afterwards only publish(), stop() and requests() from others.
class Worker {
 public:
  Worker(const Config& config, const Log& log, AccessLogFile* file, Registry& registry);
  ~Worker();  // stop() and join
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void set_tls(std::unique_ptr<TlsAcceptor> acceptor, uint16_t https_port);
  // The bound address. Several workers bind the same one.
  Result<SocketAddress> listen(const SocketAddress& address, bool tls);
  void start(unsigned number);

  void publish(std::shared_ptr<const RouteTable> table);
  void stop();  // does not wait
  uint64_t requests() const { return core_.requests.load(std::memory_order_relaxed); }

 private:
  struct Listener {
    net::Fd fd;
    uint16_t port = 0;
    bool tls = false;
    net::Watch watch;
    bool paused = false;
  };
  void run(unsigned number);
  void set_table(std::shared_ptr<const RouteTable> table);
  void accept(Listener& listener);
  void take(Listener& listener, net::Fd fd, const SocketAddress& peer);
  void pause(Listener& listener);
  void begin_drain();
  void check_drained(MonoTime deadline);

  const Log log_;
  Core core_;
  std::unique_ptr<TlsAcceptor> tls_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  net::Timer resume_, drain_check_;
  std::thread thread_;
};

}  // namespace fairlead::ingress
