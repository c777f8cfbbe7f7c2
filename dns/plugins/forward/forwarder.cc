#include "dns/plugins/forward/forwarder.h"

#include <numeric>

#include "base/text.h"

namespace fairlead::dns {
namespace {

using namespace std::chrono_literals;

// No try begins later than this, so that with its time-out of 2 s the client still hears of the
// failure: stub resolvers wait 5 s.
constexpr Duration last_try_begins = 2500ms;
constexpr Duration probe_interval = 500ms;
constexpr uint32_t max_under_way = 20'000;  // over all workers, when max_concurrent is not set

// `. NS`, recursion desired: what CoreDNS asks to see whether an upstream is back.
constexpr std::string_view probe_query(
    "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x02\x00\x01",
    17);

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Result<void> check_reply(Bytes query, Bytes reply) {
  FL_TRY(const auto view, MessageView::parse(reply));
  if ((view.flags() & flag::qr) == 0) return fail("reply without the response flag");
  if (view.id() != read16(query.data())) return fail("reply with another id");
  FoldedName asked, answered;
  if (view.questions() != 1 || !asked.assign(query.data() + header_bytes, query.size() - 12) ||
      !answered.assign(reply.data() + header_bytes, reply.size() - header_bytes) ||
      asked.from(0) != answered.from(0) ||
      read32(query.data() + header_bytes + asked.size) !=
          read32(reply.data() + header_bytes + answered.size)) {
    return fail("reply to another question");
  }
  return {};
}

struct Forwarder::Query {
  std::string wire;
  Done done;
  MonoTime begun;
  std::vector<size_t> order;
  size_t tries = 0;
  std::string problems;
};

Forwarder::Forwarder(net::EventLoop& loop, const ForwardConfig& config, const ExchangeFactory& make,
                     std::atomic<uint32_t>& under_way, Log log)
    : loop_(loop),
      config_(config),
      under_way_(under_way),
      log_(std::move(log)),
      random_(std::random_device{}()) {
  for (const auto& address : config_.upstreams) {
    upstreams_.push_back({.address = address, .exchange = make(address, config_.force_tcp)});
  }
}

Forwarder::~Forwarder() { under_way_.fetch_sub(own_under_way_, std::memory_order_relaxed); }

bool Forwarder::has_room() const {
  const uint32_t limit = config_.max_concurrent == 0 ? max_under_way : config_.max_concurrent;
  return under_way_.load(std::memory_order_relaxed) < limit;
}

size_t Forwarder::healthy() const {
  return static_cast<size_t>(std::count_if(upstreams_.begin(), upstreams_.end(),
                                           [this](const Upstream& one) { return !down(one); }));
}

// Healthy ones in the order of the policy, then, as a last resort, those that are down.
std::vector<size_t> Forwarder::order() {
  std::vector<size_t> order(upstreams_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (config_.policy == ForwardConfig::Policy::random) {
    std::shuffle(order.begin(), order.end(), random_);
  } else if (config_.policy == ForwardConfig::Policy::round_robin) {
    const auto first = static_cast<long>(next_++ % order.size());
    std::rotate(order.begin(), order.begin() + first, order.end());
  }
  std::vector<size_t> last_resort;
  std::erase_if(order, [&](size_t i) {
    if (!down(upstreams_[i])) return false;
    last_resort.push_back(i);
    return true;
  });
  order.insert(order.end(), last_resort.begin(), last_resort.end());
  return order;
}

void Forwarder::ask(std::string wire_query, Done done) {
  under_way_.fetch_add(1, std::memory_order_relaxed);
  ++own_under_way_;
  auto query = std::make_shared<Query>();
  query->wire = std::move(wire_query);
  query->done = std::move(done);
  query->begun = loop_.now();
  query->order = order();
  next_try(std::move(query));
}

void Forwarder::next_try(std::shared_ptr<Query> query) {
  const size_t limit = 2 * upstreams_.size();  // as max_connect_attempts of CoreDNS
  if (query->tries == limit || (query->tries > 0 && loop_.now() - query->begun > last_try_begins)) {
    return finish(*query, fail(cat("no answer from any upstream: ", query->problems)));
  }
  Upstream& upstream = upstreams_[query->order[query->tries++ % query->order.size()]];
  upstream.exchange->ask(query->wire, [this, query, &upstream](Result<std::string> reply) {
    if (reply) {
      if (auto checked = check_reply(bytes_of(query->wire), bytes_of(*reply)); !checked) {
        reply = std::unexpected(checked.error());
      }
    }
    if (reply) {
      note_success(upstream);
      return finish(*query, std::move(reply));
    }
    note_failure(upstream, reply.error().message);
    query->problems += cat(query->problems.empty() ? "" : "; ", upstream.address.to_string(), ": ",
                           reply.error().message);
    next_try(query);
  });
}

void Forwarder::finish(Query& query, Result<std::string> result) {
  under_way_.fetch_sub(1, std::memory_order_relaxed);
  --own_under_way_;
  query.done(std::move(result));
}

void Forwarder::note_failure(Upstream& upstream, std::string_view why) {
  if (upstream.fails < UINT32_MAX) ++upstream.fails;
  if (upstream.fails == config_.max_fails) {
    log_.warn("upstream is down", {{"upstream", upstream.address.to_string()}, {"error", why}});
  }
  probe_later(upstream);
}

void Forwarder::note_success(Upstream& upstream) {
  if (down(upstream)) log_.info("upstream is back", {{"upstream", upstream.address.to_string()}});
  upstream.fails = 0;
  upstream.probe.reset();
}

// While an upstream fails it is asked every half second, any reply makes it healthy.
void Forwarder::probe_later(Upstream& upstream) {
  if (config_.max_fails == 0 || upstream.probe || upstream.probing) return;
  upstream.probe = loop_.after(probe_interval, [this, &upstream] {
    upstream.probing = true;
    upstream.exchange->ask(probe_query, [this, &upstream](const Result<std::string>& reply) {
      upstream.probing = false;
      if (reply) return note_success(upstream);
      note_failure(upstream, reply.error().message);
    });
  });
}

}  // namespace fairlead::dns
