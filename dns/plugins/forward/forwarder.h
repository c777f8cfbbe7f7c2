// The `forward` step: queries to upstreams, with choice, fail-over and health, as CoreDNS
// plugin/forward.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/log.h"
#include "dns/corefile.h"
#include "dns/message.h"
#include "dns/plugins/forward/exchange.h"
#include "net/event_loop.h"

namespace fairlead::dns {

// Whether `reply` answers `query`: a whole message, a response, the same id, the same question
// (RFC 5452 section 3).
Result<void> check_reply(Bytes query, Bytes reply);

// One `forward` directive in one worker. Belongs to the worker's loop.
class Forwarder {
 public:
  using Done = std::function<void(Result<std::string> reply)>;

  // `under_way` counts over all workers, for max_concurrent; it must outlive this.
  Forwarder(net::EventLoop& loop, const ForwardConfig& config, const ExchangeFactory& make,
            std::atomic<uint32_t>& under_way, Log log);
  ~Forwarder();

  // False when as many queries are under way as may be.
  bool has_room() const;
  // The reply is checked. Errors name the upstreams that were tried. REQUIRES: has_room().
  void ask(std::string wire_query, Done done);

  size_t healthy() const;  // upstreams that are not marked down

 private:
  struct Upstream {
    SocketAddress address;
    std::unique_ptr<Exchange> exchange;
    uint32_t fails = 0;  // in a row
    bool probing = false;
    net::Timer probe;
  };
  struct Query;

  std::vector<size_t> order();
  void next_try(std::shared_ptr<Query> query);
  void finish(Query& query, Result<std::string> result);
  void note_failure(Upstream& upstream, std::string_view why);
  void note_success(Upstream& upstream);
  void probe_later(Upstream& upstream);
  bool down(const Upstream& upstream) const {
    return config_.max_fails > 0 && upstream.fails >= config_.max_fails;
  }

  net::EventLoop& loop_;
  const ForwardConfig config_;
  std::atomic<uint32_t>& under_way_;
  uint32_t own_under_way_ = 0;
  Log log_;
  std::minstd_rand random_;
  size_t next_ = 0;  // round robin
  std::vector<Upstream> upstreams_;
};

}  // namespace fairlead::dns
