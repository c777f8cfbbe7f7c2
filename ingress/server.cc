#include "ingress/server.h"

#include <algorithm>
#include <mutex>
#include <thread>

#include "base/text.h"
#include "ingress/access_log.h"
#include "ingress/head_writer.h"
#include "ingress/route_builder.h"
#include "ingress/tls_acceptor.h"
#include "ingress/worker.h"
#include "net/tls.h"

namespace fairlead::ingress {
namespace {

Result<void> check(const Config& config) {
  const Limits& limits = config.limits;
  if (limits.header_bytes < 1024 || limits.header_bytes > max_header_bytes) {
    return fail(cat("ingress: limits.header_bytes: ", limits.header_bytes, " is not in 1024..",
                    max_header_bytes));
  }
  if (limits.target_bytes > limits.header_bytes) {
    return fail("ingress: limits.target_bytes: more than limits.header_bytes");
  }
  if (limits.tries < 1 || limits.tries > 8) {
    return fail(cat("ingress: limits.tries: ", limits.tries, " is not in 1..8"));
  }
  if (config.http.empty() && config.https.empty()) {
    return fail("ingress: neither an http nor an https address to listen on");
  }
  if (config.workers > 1024) {
    return fail(cat("ingress: workers: ", config.workers, " is more than 1024"));
  }
  return {};
}

}  // namespace

struct Server::Impl {
  Impl(Config configuration, const Log& parent, Registry& metrics)
      : config(std::move(configuration)),
        log(parent.named("ingress")),
        registry(metrics),
        builder({config.controller, config.watch_without_class}) {}

  Result<void> bind_workers();
  Result<void> bind(std::vector<SocketAddress>& addresses, bool tls);
  void log_new_problems(const std::vector<std::string>& problems);

  const Config config;
  const Log log;
  Registry& registry;
  std::shared_ptr<const Certificate> default_certificate;
  std::unique_ptr<AccessLogFile> access_log;
  RouteBuilder builder;
  std::shared_ptr<const RouteTable> table = std::make_shared<RouteTable>();
  bool started = false;

  mutable std::mutex mutex;
  Status shared;  // guarded by mutex

  std::vector<std::unique_ptr<Worker>> workers;  // last: they use everything above
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() {
  // All at once: each takes up to limits.drain_timeout.
  if (impl_->started) {
    for (const auto& worker : impl_->workers) worker->stop();
  }
  impl_->workers.clear();
}

Result<std::unique_ptr<Server>> Server::create(Config config, const Log& log, Registry& registry) {
  FL_TRY_VOID(check(config));
  auto impl = std::make_unique<Impl>(std::move(config), log, registry);
  if (!impl->config.access_log.empty()) {
    FL_TRY(impl->access_log, AccessLogFile::open(impl->config.access_log));
  }
  if (!impl->config.https.empty()) {
    FL_TRY(const auto pair, net::self_signed({.common_name = "fairlead default certificate",
                                              .dns_names = {"ingress.local"},
                                              .days = 3650}));
    FL_TRY(impl->default_certificate,
           Certificate::parse(pair.certificate_pem, pair.key_pem, "default certificate"));
  }
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Result<void> Server::Impl::bind(std::vector<SocketAddress>& addresses, bool tls) {
  for (SocketAddress& address : addresses) {
    for (const auto& worker : workers) {
      const auto bound = worker->listen(address, tls);
      if (!bound) {
        return fail(cat("ingress: ", tls ? "https " : "http ", address.to_string()), bound.error());
      }
      address = *bound;  // the others share the port that the first one got
    }
    shared.listening.push_back(cat(tls ? "https " : "http ", address.to_string()));
  }
  return {};
}

Result<void> Server::Impl::bind_workers() {
  std::vector<SocketAddress> http = config.http, https = config.https;
  FL_TRY_VOID(bind(http, false));
  FL_TRY_VOID(bind(https, true));
  if (https.empty()) return {};
  FL_TRY(const TicketKeys keys, make_ticket_keys());
  for (const auto& worker : workers) {
    FL_TRY(auto acceptor, TlsAcceptor::create(keys, default_certificate));
    worker->set_tls(std::move(acceptor), https.front().port);
  }
  return {};
}

Result<void> Server::start() {
  Impl& impl = *impl_;
  const unsigned count = impl.config.workers != 0
                             ? impl.config.workers
                             : std::max(1U, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < count; ++i) {
    impl.workers.push_back(
        std::make_unique<Worker>(impl.config, impl.log, impl.access_log.get(), impl.registry));
  }
  {
    const std::lock_guard lock(impl.mutex);
    if (auto bound = impl.bind_workers(); !bound) {
      impl.workers.clear();
      impl.shared.listening.clear();
      return bound;
    }
  }
  for (unsigned i = 0; i < count; ++i) {
    impl.workers[i]->publish(impl.table);
    impl.workers[i]->start(i);
  }
  impl.started = true;
  impl.log.info("listening",
                {{"addresses", join(impl.shared.listening, ", ")}, {"workers", count}});
  return {};
}

void Server::Impl::log_new_problems(const std::vector<std::string>& problems) {
  for (const std::string& problem : problems) {
    if (!std::binary_search(shared.problems.begin(), shared.problems.end(), problem)) {
      log.warn(problem);
    }
  }
}

void Server::publish(std::shared_ptr<const api::Snapshot> snapshot, const api::Changes& changes) {
  Impl& impl = *impl_;
  impl.table = impl.builder.update(*snapshot, changes);
  for (const auto& worker : impl.workers) worker->publish(impl.table);
  const std::lock_guard lock(impl.mutex);
  impl.shared.hosts = impl.table->hosts.size();
  impl.shared.routes = impl.table->route_count;
  impl.shared.certificates = impl.table->certificates.size();
  if (impl.shared.problems == impl.builder.problems()) return;
  impl.log_new_problems(impl.builder.problems());
  impl.shared.problems = impl.builder.problems();
}

Status Server::status() const {
  const std::lock_guard lock(impl_->mutex);
  Status status = impl_->shared;
  for (const auto& worker : impl_->workers) status.requests += worker->requests();
  if (const uint64_t failed = impl_->access_log ? impl_->access_log->failures() : 0; failed > 0) {
    status.problems.push_back(cat("access log ", impl_->config.access_log, ": lines are missing, ",
                                  failed, failed == 1 ? " write has" : " writes have", " failed"));
  }
  return status;
}

}  // namespace fairlead::ingress
