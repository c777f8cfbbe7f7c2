// The daemon of one node. Its constructor and start() show every object that it is made of.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/proxy.h"
#include "agent/status.h"
#include "base/log.h"
#include "base/metrics.h"
#include "dns/server.h"
#include "ingress/server.h"
#include "net/event_loop.h"
#include "net/http_server.h"
#include "watch/feed.h"
#include "watch/kubeconfig.h"

namespace fairlead::agent {

// Lives on the thread that calls run(): that thread is the feed loop. dns and ingress own threads
// of their own.
class Agent {
 public:
  // `make` makes the drivers, by default those of agent/drivers.h.
  Agent(AgentConfig config, std::string version, const Log& log, MakeDriver make = {});
  ~Agent();

  // Binds every socket, takes over the kernel state of an earlier run, starts the feed. An error
  // names the setting that is to blame.
  Result<void> start();
  // Until stop(). Kernel state stays: a restart or an upgrade disturbs no connection.
  void run() { loop_.run(); }
  void stop() { loop_.stop(); }  // any thread

  StatusReport status() const;  // feed loop only
  net::EventLoop& loop() { return loop_; }

 private:
  Result<void> find_source();
  Result<void> start_proxy();
  Result<void> start_dns();
  Result<void> start_ingress();
  void start_feed();
  watch::FeedOptions feed_options() const;
  Result<void> start_endpoints();
  void on_tick(std::shared_ptr<const api::Snapshot> snapshot, const api::Changes& changes);
  void add_components(StatusReport& report) const;
  void add_proxy(StatusReport& report) const;

  // The HTTP endpoints: agent/agent_http.cc, where one table names them all. Each door leads to
  // what those before it lead to, and to more.
  enum class Door : uint8_t { healthz, metrics, socket };
  struct Route;
  static const std::vector<Route>& routes();
  net::HttpResponse answer(const net::HttpRequest& request, Door door);
  net::HttpResponse get_healthz(const net::HttpRequest& request);
  net::HttpResponse get_livez(const net::HttpRequest& request);
  net::HttpResponse get_readyz(const net::HttpRequest& request);
  net::HttpResponse get_metrics(const net::HttpRequest& request);
  net::HttpResponse get_status(const net::HttpRequest& request);
  net::HttpResponse get_mode(const net::HttpRequest& request);
  net::HttpResponse put_mode(const net::HttpRequest& request);
  net::HttpResponse get_configz(const net::HttpRequest& request);
  net::HttpResponse get_dump(const net::HttpRequest& request);
  net::HttpResponse get_explain(const net::HttpRequest& request);
  net::HttpResponse post_verify(const net::HttpRequest& request);

  AgentConfig config_;
  std::string version_;
  std::string node_name_;
  Log log_;
  MonoTime started_;
  Registry registry_;
  net::EventLoop loop_;
  MakeDriver make_;
  Counter &healthz_ok_, &healthz_failed_, &livez_ok_, &livez_failed_;
  std::string proxy_off_why_;
  watch::ApiAccess api_;     // unset when a folder is the source
  bool needs_pods_ = false;  // the Corefile asks for `pods verified`
  std::unique_ptr<Proxy> proxy_;
  std::unique_ptr<dns::Server> dns_;
  std::unique_ptr<ingress::Server> ingress_;
  std::unique_ptr<watch::Feed> feed_;
  std::vector<std::unique_ptr<net::HttpServer>> endpoints_;
};

}  // namespace fairlead::agent
