// The HTTP servers behind spec.healthCheckNodePort: a load balancer asks each node whether it has
// endpoints of the Service (kube-proxy pkg/proxy/healthcheck/service_health.go).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "dataplane/service_table.h"
#include "net/event_loop.h"
#include "net/http_server.h"

namespace fairlead::agent {

// Belongs to the feed loop. Any path answers: 200 when a ready endpoint is on this node and the
// proxy is healthy, else 503.
class HealthCheckPorts {
 public:
  HealthCheckPorts(net::EventLoop& loop, std::function<bool()> proxy_healthy, const Log& log,
                   Duration retry_every = std::chrono::seconds(5));

  // Follows the entries that changed, or the whole table. Addresses that could not be bound are
  // tried again with every update of their Service, and by themselves.
  void update(const dataplane::ServiceTable& table, const std::set<api::ObjectKey>& changed,
              bool full);

  std::vector<std::string> errors() const;  // "default/web: health check port 32000: ..."
  std::vector<std::string> listening() const;

 private:
  struct Server {
    dataplane::HealthCheck check;
    std::vector<Ip> addresses;
    std::unique_ptr<net::HttpServer> http;
    std::string error;
    std::vector<std::string> listening;
  };
  void follow(const dataplane::ServiceTable& table, const std::set<api::ObjectKey>& keys);
  void open(const api::ObjectKey& key, Server& server);
  void retry_later();
  net::HttpResponse answer(const api::ObjectKey& key) const;

  net::EventLoop& loop_;
  std::function<bool()> proxy_healthy_;
  Log log_;
  Duration retry_every_;
  net::Timer retry_;
  std::vector<Ip> addresses_;
  std::map<api::ObjectKey, Server> servers_;
};

}  // namespace fairlead::agent
