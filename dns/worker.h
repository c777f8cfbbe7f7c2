// One thread that answers queries: a loop, an engine, and its own sockets of every port.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "dns/engine.h"
#include "dns/tcp_listener.h"
#include "dns/udp_listener.h"

namespace fairlead::dns {

class Worker {
 public:
  // `under_way` by ForwardStep::number. Everything referred to must outlive the worker.
  Worker(const Plan& plan, const IndexBoard& board, Shard& shard, ErrorBoard& errors,
         const Clock& clock, std::vector<std::atomic<uint32_t>>& under_way, const Log& log);
  ~Worker();  // stops and joins

  // Before start(). The error names the Corefile's line, transport and address.
  Result<void> bind(const std::vector<Ip>& addresses);
  void start();
  std::vector<std::string> listening() const;

 private:
  const Plan& plan_;
  net::EventLoop loop_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::unique_ptr<UdpListener>> udp_;
  std::vector<std::unique_ptr<TcpListener>> tcp_;
  std::vector<std::unique_ptr<Forwarder>> forwarders_;  // first to go: they hold late replies
  std::thread thread_;
};

}  // namespace fairlead::dns
