#include "dns/server.h"

#include <atomic>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/text.h"
#include "dns/http_pages.h"
#include "dns/worker.h"

namespace fairlead::dns {
namespace {

constexpr Duration collect_interval = std::chrono::seconds(1);
constexpr unsigned max_workers = 256;

// A forward that leads back here would spin every query until it times out.
Result<void> check_loops(const Plan& plan, const ServerOptions& options) {
  const auto is_own = [&](const Ip& ip) {
    const auto has = [&](const std::vector<Ip>& list) {
      return std::find(list.begin(), list.end(), ip) != list.end();
    };
    if (!options.bind.empty()) return has(options.bind);
    return ip == Ip::v4(0x7f000001) || (!ip.is_v4() && ip.is_loopback()) || has(options.local_ips);
  };
  for (const auto& block : plan.blocks) {
    for (const auto& step : block.forwards) {
      for (const auto& upstream : step.config->upstreams) {
        const bool served = std::any_of(plan.sites.begin(), plan.sites.end(),
                                        [&](const Site& s) { return s.port == upstream.port; });
        if (!served || !is_own(upstream.ip)) continue;
        return fail(cat(step.config->at.to_string(), ": forward: ", upstream.to_string(),
                        " is this server itself, expected another one"));
      }
    }
  }
  return {};
}

}  // namespace

struct Server::Impl {
  Impl(Corefile corefile, ServerOptions the_options, const Log& the_log, Registry& the_registry)
      : options(std::move(the_options)),
        log(the_log),
        registry(the_registry),
        plan(std::move(corefile), options.local_ips),
        metrics(registry, plan, worker_count(options)),
        under_way(plan.forward_steps),
        pages(loop, log) {}
  ~Impl() { stop(); }

  static unsigned worker_count(const ServerOptions& options) {
    const unsigned wanted =
        options.workers != 0 ? options.workers : std::thread::hardware_concurrency();
    return std::clamp(wanted, 1u, max_workers);
  }

  Result<void> start();
  void stop();
  void add_pages();
  void collect_later();
  net::HttpResponse ready_page() const;
  bool synced() const { return board.get() != nullptr || plan.indexes.empty(); }

  const ServerOptions options;
  const Log log;
  Registry& registry;
  RealClock clock;
  const Plan plan;
  IndexBoard board;
  ErrorBoard errors;
  Metrics metrics;
  std::vector<std::atomic<uint32_t>> under_way;
  std::vector<std::unique_ptr<Worker>> workers;

  // Pages and metrics have a thread of their own, so that a scrape holds up no query.
  net::EventLoop loop;
  HttpPages pages;
  net::Timer collect_timer;
  std::thread thread;
  std::atomic<bool> lameduck{false};

  mutable std::mutex mutex;  // guards `listening`
  std::vector<std::string> listening;
  std::shared_ptr<const Indexes> newest;  // of the feed thread
};

Result<void> Server::Impl::start() {
  CHECK(workers.empty());
  FL_TRY_VOID(check_loops(plan, options));
  std::vector<Ip> addresses = options.bind;
  if (addresses.empty()) addresses.push_back(Ip{});  // `::`, which also serves IPv4
  std::vector<std::string> now_listening;
  for (unsigned i = 0; i < worker_count(options); ++i) {
    workers.push_back(
        std::make_unique<Worker>(plan, board, metrics.shard(i), errors, clock, under_way, log));
    if (auto bound = workers.back()->bind(addresses); !bound) {
      workers.clear();
      return std::unexpected(bound.error());
    }
  }
  now_listening = workers.front()->listening();
  add_pages();
  const auto bound_pages = pages.listen();
  if (!bound_pages) {
    workers.clear();
    return std::unexpected(bound_pages.error());
  }
  for (const auto& address : *bound_pages) {
    now_listening.push_back(cat("http ", address.to_string()));
  }
  {
    const std::lock_guard lock(mutex);
    listening = now_listening;
  }
  for (const auto& worker : workers) worker->start();
  thread = std::thread([this] {
    collect_later();
    loop.run();
  });
  log.info("listening", {{"addresses", join(now_listening, ", ")}, {"workers", workers.size()}});
  return {};
}

void Server::Impl::stop() {
  uint32_t lameduck_ms = 0;
  for (const auto& block : plan.corefile.blocks) {
    if (block.health) lameduck_ms = std::max(lameduck_ms, block.health->lameduck_ms);
  }
  if (!thread.joinable()) return;
  // /ready now fails, so that nobody new comes, while those who come are still answered.
  lameduck = true;
  std::this_thread::sleep_for(std::chrono::milliseconds(lameduck_ms));
  workers.clear();
  loop.stop();
  thread.join();
  metrics.collect();
}

void Server::Impl::collect_later() {
  collect_timer = loop.after(collect_interval, [this] {
    metrics.collect();
    collect_later();
  });
}

net::HttpResponse Server::Impl::ready_page() const {
  if (lameduck) return net::HttpResponse::text(503, "shutting down");
  if (!synced()) return net::HttpResponse::text(503, "kubernetes");
  return net::HttpResponse::text(200, "OK");
}

void Server::Impl::add_pages() {
  for (const auto& block : plan.corefile.blocks) {
    if (block.health) {
      pages.add(block.health->address, "/health", cat(block.health->at.to_string(), ": health"),
                [] { return net::HttpResponse::text(200, "OK"); });
    }
    if (block.ready) {
      pages.add(block.ready->address, "/ready", cat(block.ready->at.to_string(), ": ready"),
                [this] { return ready_page(); });
    }
    if (!block.prometheus) continue;
    pages.add(block.prometheus->address, "/metrics",
              cat(block.prometheus->at.to_string(), ": prometheus"), [this] {
                metrics.collect();
                auto page = net::HttpResponse::text(200, registry.text());
                page.headers.set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
                return page;
              });
  }
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(Corefile corefile, ServerOptions options,
                                               const Log& log, Registry& registry) {
  if (corefile.blocks.empty()) return fail("Corefile without server block, expected at least one");
  return std::unique_ptr<Server>(new Server(
      std::make_unique<Impl>(std::move(corefile), std::move(options), log.named("dns"), registry)));
}

Result<void> Server::start() { return impl_->start(); }

void Server::publish(std::shared_ptr<const api::Snapshot> snapshot, const api::Changes& changes) {
  const auto serial =
      static_cast<uint32_t>(std::chrono::system_clock::to_time_t(impl_->clock.wall()));
  auto next = std::make_shared<Indexes>();
  for (size_t i = 0; i < impl_->plan.indexes.size(); ++i) {
    next->push_back(impl_->newest == nullptr
                        ? ZoneIndex::build(snapshot, impl_->plan.indexes[i], serial)
                        : (*impl_->newest)[i]->update(snapshot, changes, serial));
  }
  impl_->newest = next;
  impl_->board.publish(std::move(next));
}

Status Server::status() const {
  Status status{.ready = impl_->synced() && !impl_->lameduck,
                .errors = impl_->errors.get(),
                .queries = impl_->metrics.queries()};
  for (const auto& site : impl_->plan.sites) status.zones += site.zones.size();
  const std::lock_guard lock(impl_->mutex);
  status.listening = impl_->listening;
  return status;
}

}  // namespace fairlead::dns
