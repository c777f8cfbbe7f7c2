#include "dns/worker.h"

#include "base/text.h"

namespace fairlead::dns {

Worker::Worker(const Plan& plan, const IndexBoard& board, Shard& shard, ErrorBoard& errors,
               const Clock& clock, std::vector<std::atomic<uint32_t>>& under_way, const Log& log)
    : plan_(plan) {
  const ExchangeFactory make = resolver_exchanges(loop_);
  std::vector<Forwarder*> by_number;
  for (const auto& block : plan.blocks) {
    for (const auto& step : block.forwards) {
      forwarders_.push_back(std::make_unique<Forwarder>(
          loop_, *step.config, make, under_way[step.number], log.named("dns/forward")));
      by_number.push_back(forwarders_.back().get());
    }
  }
  engine_ =
      std::make_unique<Engine>(Engine::Parts{plan, board, shard, errors, clock, by_number}, log);
}

Worker::~Worker() {
  if (thread_.joinable()) {
    loop_.stop();
    thread_.join();
  }
}

Result<void> Worker::bind(const std::vector<Ip>& addresses) {
  for (const auto& site : plan_.sites) {
    for (const Ip& ip : addresses) {
      const SocketAddress address{ip, site.port};
      const auto owner = [&](std::string_view transport) {
        const ServerBlock& block = plan_.corefile.blocks[site.zones.front().block];
        return cat(block.at.to_string(), ": ", transport, ' ', address.to_string());
      };
      auto udp = UdpListener::open(loop_, address, *engine_, site);
      if (!udp) return fail(owner("udp"), udp.error());
      auto tcp = TcpListener::open(loop_, address, *engine_, site);
      if (!tcp) return fail(owner("tcp"), tcp.error());
      udp_.push_back(std::move(*udp));
      tcp_.push_back(std::move(*tcp));
    }
  }
  return {};
}

void Worker::start() {
  thread_ = std::thread([this] {
    for (const auto& listener : udp_) listener->start();
    for (const auto& listener : tcp_) listener->start();
    loop_.run();
  });
}

std::vector<std::string> Worker::listening() const {
  std::vector<std::string> out;
  for (const auto& listener : udp_) out.push_back(cat("udp ", listener->address().to_string()));
  for (const auto& listener : tcp_) out.push_back(cat("tcp ", listener->address().to_string()));
  return out;
}

}  // namespace fairlead::dns
