#include "agent/health_check_ports.h"

#include <algorithm>

#include "api/json.h"

namespace fairlead::agent {

HealthCheckPorts::HealthCheckPorts(net::EventLoop& loop, std::function<bool()> proxy_healthy,
                                   const Log& log, Duration retry_every)
    : loop_(loop), proxy_healthy_(std::move(proxy_healthy)), log_(log), retry_every_(retry_every) {}

void HealthCheckPorts::update(const dataplane::ServiceTable& table,
                              const std::set<api::ObjectKey>& changed, bool full) {
  addresses_ = table.node.node_port_ips.value_or(std::vector<Ip>{Ip{}});
  if (!full) {
    follow(table, changed);
    return;
  }
  std::set<api::ObjectKey> keys;
  for (const auto& [key, server] : servers_) keys.insert(key);
  for (const auto& [key, entry] : table.services) {
    if (entry.health_check.port != 0) keys.insert(key);
  }
  follow(table, keys);
}

// Closes first, then opens: a port that one Service gives up may be another one's now.
void HealthCheckPorts::follow(const dataplane::ServiceTable& table,
                              const std::set<api::ObjectKey>& keys) {
  for (const api::ObjectKey& key : keys) {
    const auto entry = table.services.find(key);
    if (entry == table.services.end() || entry->second.health_check.port == 0) {
      servers_.erase(key);
      continue;
    }
    const dataplane::HealthCheck& check = entry->second.health_check;
    Server& server = servers_[key];
    if (!server.error.empty() || server.check.port != check.port ||
        server.addresses != addresses_) {
      server.http.reset();
    }
    server.check = check;
  }
  for (const api::ObjectKey& key : keys) {
    const auto found = servers_.find(key);
    if (found != servers_.end() && found->second.http == nullptr) open(key, found->second);
  }
  if (!retry_) retry_later();
}

// Whoever has the port may be on the way out: a kube-proxy, or this agent's last run.
void HealthCheckPorts::retry_later() {
  const auto failed = [](const auto& one) { return !one.second.error.empty(); };
  if (std::none_of(servers_.begin(), servers_.end(), failed)) return;
  retry_ = loop_.after(retry_every_, [this] {
    for (auto& [key, server] : servers_) {
      if (!server.error.empty()) open(key, server);
    }
    retry_later();
  });
}

void HealthCheckPorts::open(const api::ObjectKey& key, Server& server) {
  const std::string known = std::exchange(server.error, {});
  server.http.reset();  // its sockets are free again before the new ones are bound
  server.listening.clear();
  server.addresses = addresses_;
  server.http = std::make_unique<net::HttpServer>(
      loop_, log_, [this, key](net::HttpRequest, std::unique_ptr<net::Responder> responder) {
        responder->send(answer(key));
      });
  for (const Ip& ip : addresses_) {
    const auto bound = server.http->listen({ip, server.check.port});
    if (bound) {
      server.listening.push_back(cat("health-check ", bound->to_string()));
    } else if (server.error.empty()) {
      server.error = cat(key.to_string(), ": health check port ", server.check.port, ": ",
                         bound.error().message);
      if (server.error != known) log_.warn(server.error);
    }
  }
}

net::HttpResponse HealthCheckPorts::answer(const api::ObjectKey& key) const {
  const auto found = servers_.find(key);
  const uint32_t count = found == servers_.end() ? 0 : found->second.check.local_endpoints;
  const bool healthy = proxy_healthy_();
  const json::value body{{"service", {{"namespace", key.ns}, {"name", key.name}}},
                         {"localEndpoints", count},
                         {"serviceProxyHealthy", healthy}};
  auto response =
      net::HttpResponse::json(count > 0 && healthy ? 200 : 503, json::serialize(body) + "\n");
  response.headers.set("X-Content-Type-Options", "nosniff");
  response.headers.set("X-Load-Balancing-Endpoint-Weight", cat(count));
  return response;
}

std::vector<std::string> HealthCheckPorts::errors() const {
  std::vector<std::string> out;
  for (const auto& [key, server] : servers_) {
    if (!server.error.empty()) out.push_back(server.error);
  }
  return out;
}

std::vector<std::string> HealthCheckPorts::listening() const {
  std::vector<std::string> out;
  for (const auto& [key, server] : servers_) {
    out.insert(out.end(), server.listening.begin(), server.listening.end());
  }
  return out;
}

}  // namespace fairlead::agent
