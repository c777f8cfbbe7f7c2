#include "dns/plugins/forward/exchange.h"

#include "net/resolver.h"

namespace fairlead::dns {
namespace {

constexpr Duration try_timeout = std::chrono::seconds(2);  // CoreDNS plugin/pkg/proxy readTimeout

class ResolverExchange final : public Exchange {
 public:
  ResolverExchange(net::EventLoop& loop, const SocketAddress& upstream, bool force_tcp)
      : resolver_(
            loop,
            {.servers = {upstream}, .timeout = try_timeout, .tries = 1, .force_tcp = force_tcp}) {}

  void ask(std::string_view wire_query, Done done) override {
    resolver_.query_raw(wire_query, std::move(done));
  }

 private:
  net::Resolver resolver_;
};

}  // namespace

ExchangeFactory resolver_exchanges(net::EventLoop& loop) {
  return [&loop](const SocketAddress& upstream, bool force_tcp) -> std::unique_ptr<Exchange> {
    return std::make_unique<ResolverExchange>(loop, upstream, force_tcp);
  };
}

}  // namespace fairlead::dns
