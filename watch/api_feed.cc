#include "base/text.h"
#include "watch/feed.h"
#include "watch/reflector.h"
#include "watch/store.h"

namespace fairlead::watch {
namespace {

// "10.0.0.1:6443", "[fd00::1]:6443" or the path of a unix socket.
std::string host_of(const net::HttpTarget& target) {
  if (!target.unix_path.empty()) return target.unix_path;
  const bool v6 = target.host.find(':') != std::string::npos;
  return cat(v6 ? "[" : "", target.host, v6 ? "]:" : ":", target.port);
}

std::string describe(const net::HttpTarget& target) {
  const std::string_view scheme = !target.unix_path.empty() ? "unix://"
                                  : target.tls == nullptr   ? "http://"
                                                            : "https://";
  return cat(scheme, host_of(target));
}

class ApiFeed final : public Feed {
 public:
  ApiFeed(net::EventLoop& loop, net::HttpTarget target, net::Headers headers, FeedOptions options,
          const Log& log, Registry& registry, TickSink sink)
      : loop_(loop),
        source_(describe(target)),
        host_(host_of(target)),
        headers_(std::move(headers)),
        options_(std::move(options)),
        log_(log.named("watch")),
        client_(loop, std::move(target)),
        store_(loop, options_.coalesce, std::move(sink)) {
    if (options_.kinds.empty()) {
      for (const api::KindInfo& kind : api::kinds()) options_.kinds.push_back(kind.kind);
    }
    for (const api::Kind kind : options_.kinds) {
      reflectors_.push_back(std::make_unique<Reflector>(
          Reflector::Context{loop_, client_, headers_, options_, log_, registry, store_, host_},
          kind, [this] { on_synced(); }));
    }
    for (const auto& reflector : reflectors_) reflector->start();
  }

  FeedStatus status() const override {
    FeedStatus out;
    out.source = source_;
    out.synced = store_.is_open();
    for (size_t i = 0; i < reflectors_.size(); ++i) {
      const Reflector& reflector = *reflectors_[i];
      out.last_event = std::max(out.last_event, reflector.last_event());
      if (reflector.error().empty()) continue;
      out.errors.push_back(cat(api::info(options_.kinds[i]).plural, ": ", reflector.error()));
    }
    out.bad_objects = store_.bad_objects();
    return out;
  }

 private:
  // The last kind to be listed opens the store; until then a deletion could be a list that is not
  // there yet.
  void on_synced() {
    for (const auto& reflector : reflectors_) {
      if (!reflector->synced()) return;
    }
    log_.info("every kind is listed", {{"server", source_}, {"objects", store_.size()}});
    store_.open();
  }

  net::EventLoop& loop_;
  std::string source_, host_;
  net::Headers headers_;
  FeedOptions options_;
  Log log_;
  // Order matters: reflectors end their calls and timers before the store and the client go.
  net::HttpClient client_;
  Store store_;
  std::vector<std::unique_ptr<Reflector>> reflectors_;  // in the order of options_.kinds
};

}  // namespace

std::unique_ptr<Feed> make_api_feed(net::EventLoop& loop, net::HttpTarget target,
                                    net::Headers headers, FeedOptions options, const Log& log,
                                    Registry& registry, TickSink sink) {
  return std::make_unique<ApiFeed>(loop, std::move(target), std::move(headers), std::move(options),
                                   log, registry, std::move(sink));
}

}  // namespace fairlead::watch
