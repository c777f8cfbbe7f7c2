#include "dataplane/userspace/forwarder.h"

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <future>

#include "dataplane/userspace/sockets.h"
#include "dataplane/userspace/tcp_forwarder.h"
#include "dataplane/userspace/udp_forwarder.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr size_t reserved_files = 256;  // for everything else in this process

// Two descriptors for a connection, two for a UDP flow at most, and a share for pipes. The process
// may have what its hard limit says.
void fit_into_files(ForwardingLimits& limits, const Log& log) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  if (files.rlim_cur < files.rlim_max) {
    const rlimit raised{files.rlim_max, files.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) files = raised;
  }
  const size_t have = static_cast<size_t>(files.rlim_cur);
  const size_t budget = have > 2 * reserved_files ? have - reserved_files : have / 2;
  const size_t fits = std::max<size_t>(budget / 5, 1);
  if (limits.max_connections > fits || limits.max_udp_flows > fits) {
    log.warn("fewer connections at a time than asked for: too few file descriptors",
             {{"files", have}, {"connections", fits}});
  }
  limits.max_connections = std::min(limits.max_connections, fits);
  limits.max_udp_flows = std::min(limits.max_udp_flows, fits);
}

}  // namespace

ForwardingMetrics::ForwardingMetrics(Registry& registry)
    : connections(registry.gauge("fairlead_userspace_connections", "TCP connections carried now")),
      udp_flows(registry.gauge("fairlead_userspace_udp_flows", "UDP flows carried now")),
      accepted(registry.counter("fairlead_userspace_connections_total",
                                "TCP connections that were captured")),
      datagrams(registry.counter("fairlead_userspace_datagrams_total", "Datagrams from clients")),
      bytes(registry.counter("fairlead_userspace_bytes_total",
                             "Bytes of ended TCP connections, both ways")),
      refused_policy(registry.counter("fairlead_userspace_refused_total",
                                      "New flows that were not carried", {{"reason", "policy"}})),
      refused_limit(registry.counter("fairlead_userspace_refused_total",
                                     "New flows that were not carried", {{"reason", "limit"}})),
      refused_backend(registry.counter("fairlead_userspace_refused_total",
                                       "New flows that were not carried", {{"reason", "backend"}})),
      connect_failures(registry.counter("fairlead_userspace_connect_failures_total",
                                        "Backends that could not be reached")),
      flows_evicted(registry.counter("fairlead_userspace_udp_flows_evicted_total",
                                     "UDP flows that made room for newer ones")),
      datagrams_lost(registry.counter("fairlead_userspace_datagrams_lost_total",
                                      "Datagrams that a socket did not take")) {}

Forwarder::Forwarder(const ForwardingLimits& limits, const Clock& clock, ForwardingMetrics& metrics)
    : limits_(limits), clock_(clock), metrics_(metrics) {}

Result<std::unique_ptr<Forwarder>> Forwarder::start(const ForwardingLimits& limits,
                                                    const Clock& clock, ForwardingMetrics& metrics,
                                                    const Log& log) {
  std::unique_ptr<Forwarder> forwarder(new Forwarder(limits, clock, metrics));
  fit_into_files(forwarder->limits_, log);
  FL_TRY(forwarder->tcp_, open_captured_tcp());
  FL_TRY(forwarder->udp_, open_captured_udp());
  forwarder->thread_ = std::thread([self = forwarder.get()] { self->run(); });
  return forwarder;
}

Forwarder::~Forwarder() {
  if (!thread_.joinable()) return;
  loop_.stop();
  thread_.join();
}

size_t Forwarder::flows() const {
  return open_connections() + static_cast<size_t>(metrics_.udp_flows.value());
}

size_t Forwarder::open_connections() const {
  return static_cast<size_t>(metrics_.connections.value());
}

CarriedConnections Forwarder::connections() {
  std::promise<CarriedConnections> answer;
  auto answered = answer.get_future();
  loop_.post([this, answer = std::move(answer)]() mutable {
    answer.set_value(tcp_forwarder_->connections());
  });
  return answered.get();
}

void Forwarder::run() {
  // splice(2) into a socket whose peer has gone would end the process.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  Balancer balancer(clock_, limits_.max_clients);
  const Forwarding with{loop_, table_, balancer, clock_, limits_, metrics_};
  TcpForwarder tcp(with, tcp_.get());
  tcp_forwarder_ = &tcp;
  UdpForwarder udp(with, udp_.get());
  loop_.run();
}

}  // namespace fairlead::dataplane::userspace
