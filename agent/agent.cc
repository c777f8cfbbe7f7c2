#include "agent/agent.h"

#include <unistd.h>

#include <filesystem>

#include "agent/drivers.h"
#include "agent/host_settings.h"
#include "base/file.h"
#include "dns/corefile.h"

namespace fairlead::agent {
namespace {

int64_t ms_since(MonoTime then) {
  if (then == MonoTime{}) return -1;
  const auto passed = std::chrono::steady_clock::now() - then;
  return std::chrono::duration_cast<std::chrono::milliseconds>(passed).count();
}

ComponentStatus component(std::string name, bool ready, size_t errors, std::string detail) {
  const auto state = !ready       ? ComponentState::starting
                     : errors > 0 ? ComponentState::degraded
                                  : ComponentState::ok;
  return {std::move(name), state, std::move(detail)};
}

void add_errors(StatusReport& report, std::string_view component,
                const std::vector<std::string>& errors) {
  for (const auto& error : errors) report.errors.push_back(cat(component, ": ", error));
}

}  // namespace

Agent::Agent(AgentConfig config, std::string version, const Log& log, MakeDriver make)
    : config_(std::move(config)),
      version_(std::move(version)),
      node_name_(node_name(config_.node_name)),
      log_(log.named("agent")),
      started_(std::chrono::steady_clock::now()),
      make_(make ? std::move(make) : MakeDriver([this](dataplane::Mode mode) {
        return make_driver(mode, {config_, loop_, log_, registry_});
      })),
      healthz_ok_(registry_.counter("kubeproxy_proxy_healthz_total", "Answers of /healthz",
                                    {{"code", "200"}})),
      healthz_failed_(registry_.counter("kubeproxy_proxy_healthz_total", "Answers of /healthz",
                                        {{"code", "503"}})),
      livez_ok_(
          registry_.counter("kubeproxy_proxy_livez_total", "Answers of /livez", {{"code", "200"}})),
      livez_failed_(registry_.counter("kubeproxy_proxy_livez_total", "Answers of /livez",
                                      {{"code", "503"}})) {
  registry_
      .gauge(
          "kubernetes_build_info", "Always 1; the labels say what runs",
          {{"git_version", cat("v", version_)}, {"platform", "linux"}, {"component", "fairlead"}})
      .set(1);
}

Agent::~Agent() = default;

// The kernel last of all that can fail: an agent that cannot start, or finds another one on its
// ports, has touched nothing.
Result<void> Agent::start() {
  FL_TRY_VOID(find_source());
  FL_TRY_VOID(start_endpoints());
  FL_TRY_VOID(start_dns());
  FL_TRY_VOID(start_ingress());
  FL_TRY_VOID(apply_host_settings(config_));
  FL_TRY_VOID(start_proxy());
  start_feed();
  log_.info("started", {{"node", node_name_}, {"version", version_}});
  return {};
}

Result<void> Agent::start_proxy() {
  const auto [mode, why] = choose_mode(config_.proxy_mode);
  if (!mode) {
    proxy_off_why_ = why;
    return {};
  }
  auto driver = make_(*mode);
  if (!driver) {
    return fail(cat("--proxy-mode ", to_string(*mode), ": this program was built without it"));
  }
  proxy_ = std::make_unique<Proxy>(loop_, config_, node_name_, std::move(driver), why, log_,
                                   registry_, make_);
  if (auto started = proxy_->start(); !started) {
    const std::string_view hint =
        geteuid() == 0 ? ""
                       : "\nThe service proxy needs root, or the capabilities in deploy/README.md; "
                         "--proxy-mode none does without";
    return fail(cat("--proxy-mode ", proxy_->status().mode, ": ", started.error().message, hint));
  }
  return {};
}

Result<void> Agent::start_dns() {
  if (!config_.dns) return {};
  std::string text(dns::default_corefile());
  if (!config_.corefile.empty()) {
    auto read = read_file(config_.corefile);
    if (!read) return fail("--corefile", read.error());
    text = *std::move(read);
  }
  const std::string name = config_.corefile.empty() ? "built-in Corefile" : config_.corefile;
  FL_TRY(auto corefile, dns::parse_corefile(text, name));
  for (const auto& block : corefile.blocks) {
    needs_pods_ =
        needs_pods_ || (block.kubernetes && block.kubernetes->pods == dns::PodMode::verified);
  }
  dns::ServerOptions options;
  options.workers = config_.dns_workers;
  options.bind = config_.dns_bind;
  options.local_ips = config_.node_ips;
  FL_TRY(dns_, dns::Server::create(std::move(corefile), options, log_.named("dns"), registry_));
  return dns_->start();
}

Result<void> Agent::start_ingress() {
  if (!config_.ingress) return {};
  ingress::Config options;
  options.http = config_.ingress_http;
  options.https = config_.ingress_https;
  options.workers = config_.ingress_workers;
  options.controller = config_.ingress_controller;
  options.watch_without_class = config_.ingress_without_class;
  options.access_log = config_.access_log;
  options.trusted_proxies = config_.ingress_trusted_proxies;
  FL_TRY(ingress_, ingress::Server::create(options, log_.named("ingress"), registry_));
  return ingress_->start();
}

Result<void> Agent::find_source() {
  if (!config_.manifests.empty()) {
    if (std::filesystem::is_directory(config_.manifests)) return {};
    return fail(cat("--manifests ", config_.manifests, ": is not a folder"));
  }
  auto access =
      config_.kubeconfig.empty() ? watch::in_cluster() : watch::load_kubeconfig(config_.kubeconfig);
  if (!access) {
    if (!config_.kubeconfig.empty()) return fail("--kubeconfig", access.error());
    return fail(cat(access.error().message,
                    ". Name a source of cluster state: --kubeconfig FILE or --manifests DIR"));
  }
  api_ = *std::move(access);
  return {};
}

void Agent::start_feed() {
  const auto sink = [this](std::shared_ptr<const api::Snapshot> snapshot,
                           const api::Changes& changes) { on_tick(std::move(snapshot), changes); };
  if (!config_.manifests.empty()) {
    feed_ = watch::make_directory_feed(loop_, config_.manifests, {}, log_.named("feed"), sink);
    return;
  }
  watch::FeedOptions options = feed_options();
  options.token_file = api_.token_file;
  feed_ = watch::make_api_feed(loop_, api_.target, api_.headers, std::move(options),
                               log_.named("feed"), registry_, sink);
}

// Only what is served here: the pods of a large cluster are most of its bytes.
watch::FeedOptions Agent::feed_options() const {
  watch::FeedOptions options;
  options.kinds = {api::Kind::namespace_, api::Kind::node, api::Kind::service,
                   api::Kind::endpoint_slice};
  options.field_selectors[api::Kind::node] = "metadata.name=" + node_name_;
  if (needs_pods_) options.kinds.push_back(api::Kind::pod);
  if (config_.ingress) {
    options.kinds.insert(options.kinds.end(),
                         {api::Kind::ingress, api::Kind::ingress_class, api::Kind::secret});
    options.field_selectors[api::Kind::secret] = "type=kubernetes.io/tls";
  }
  return options;
}

void Agent::on_tick(std::shared_ptr<const api::Snapshot> snapshot, const api::Changes& changes) {
  // The proxy first: a name or a route should not lead to a Service that is not there yet.
  if (proxy_) proxy_->update(*snapshot, changes);
  if (dns_) dns_->publish(snapshot, changes);
  if (ingress_) ingress_->publish(snapshot, changes);
}

Result<void> Agent::start_endpoints() {
  const auto add = [&](Door door) {
    const auto handler = [this, door](net::HttpRequest request,
                                      std::unique_ptr<net::Responder> responder) {
      responder->send(answer(request, door));
    };
    endpoints_.push_back(
        std::make_unique<net::HttpServer>(loop_, log_.named("endpoints"), handler));
    return endpoints_.back().get();
  };
  if (auto bound = add(Door::healthz)->listen(config_.healthz_listen); !bound) {
    return fail("--healthz-listen", bound.error());
  }
  if (auto bound = add(Door::metrics)->listen(config_.metrics_listen); !bound) {
    return fail("--metrics-listen", bound.error());
  }
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(config_.socket).parent_path(), ignored);
  if (auto bound = add(Door::socket)->listen_unix(config_.socket); !bound) {
    return fail("--socket", bound.error());
  }
  return {};
}

void Agent::add_proxy(StatusReport& report) const {
  if (!proxy_) {
    report.proxy_mode = "none";
    report.components.push_back({"proxy", ComponentState::off, proxy_off_why_});
    return;
  }
  const ProxyStatus& proxy = proxy_->status();
  report.proxy_mode = proxy.mode;
  report.proxy_why = proxy.why;
  report.services = proxy.services;
  report.backends = proxy.backends;
  report.last_apply_ms_ago = ms_since(proxy.last_apply);
  report.last_apply_us = proxy.last_duration.count() / 1000;
  report.last_apply_writes = proxy.last_report.writes;
  report.retiring = proxy_->retirement().status();
  const VerifyStatus& verify = proxy_->verify_status();
  report.last_verify_ms_ago = ms_since(verify.last);
  report.verify_error = verify.error;
  std::vector<std::string> errors = proxy.last_report.errors;
  for (const dataplane::Drift& drift : verify.drifts) {
    report.drifts.push_back(to_text(drift));
    if (!drift.repaired) errors.push_back(cat("drift: ", to_text(drift)));
  }
  for (const auto& more :
       {proxy.lacking, proxy_->retirement().problems(), proxy_->health_checks().errors()}) {
    errors.insert(errors.end(), more.begin(), more.end());
  }
  add_errors(report, "proxy", errors);
  const auto listening = proxy_->health_checks().listening();
  report.listening.insert(report.listening.end(), listening.begin(), listening.end());
  report.components.push_back(
      component("proxy", proxy.applied, errors.size(), cat(proxy.mode, ": ", proxy.why)));
}

void Agent::add_components(StatusReport& report) const {
  const auto feed = feed_ ? feed_->status() : watch::FeedStatus{};
  report.feed_source = feed.source;
  report.feed_age_ms = ms_since(feed.last_event);
  add_errors(report, "feed", feed.errors);
  add_errors(report, "feed", feed.bad_objects);
  report.components.push_back(
      component("feed", feed.synced, feed.errors.size() + feed.bad_objects.size(), feed.source));
  add_proxy(report);
  if (dns_) {
    const dns::Status dns = dns_->status();
    add_errors(report, "dns", dns.errors);
    report.listening.insert(report.listening.end(), dns.listening.begin(), dns.listening.end());
    report.components.push_back(component("dns", dns.ready, dns.errors.size(),
                                          cat(dns.zones, " zones, ", dns.queries, " queries")));
  } else {
    report.components.push_back({"dns", ComponentState::off, "switched off"});
  }
  if (ingress_) {
    const ingress::Status ingress = ingress_->status();
    add_errors(report, "ingress", ingress.problems);
    report.listening.insert(report.listening.end(), ingress.listening.begin(),
                            ingress.listening.end());
    report.components.push_back(
        component("ingress", feed.synced, ingress.problems.size(),
                  cat(ingress.hosts, " hosts, ", ingress.routes, " routes, ", ingress.certificates,
                      " certificates, ", ingress.requests, " requests")));
  } else {
    report.components.push_back({"ingress", ComponentState::off, "switched off"});
  }
}

StatusReport Agent::status() const {
  StatusReport report;
  report.version = version_;
  report.node = node_name_;
  report.uptime_s = ms_since(started_) / 1000;
  add_components(report);
  return report;
}

}  // namespace fairlead::agent
