// The L7 ingress: Ingress objects of a Snapshot, served as an HTTP/1.1 reverse proxy.
//
// Semantics: Kubernetes networking.k8s.io/v1 Ingress; RFC 9110 and RFC 9112 for a proxy.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "api/snapshot.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "ingress/limits.h"

namespace fairlead::ingress {

struct Config {
  std::vector<SocketAddress> http{{.ip = {}, .port = 80}};    // every address
  std::vector<SocketAddress> https{{.ip = {}, .port = 443}};  // empty: no TLS
  unsigned workers = 0;                                       // 0: one per core
  std::string controller = "fairlead.io/ingress";             // IngressClass.spec.controller
  bool watch_without_class = false;   // serve Ingresses without a class, default class or not
  std::string access_log;             // "" none, "-" standard output, else a file (appended)
  std::vector<Cidr> trusted_proxies;  // peers whose X-Forwarded-* headers are believed
  Limits limits;
};

struct Status {
  std::vector<std::string> listening;  // "http 127.0.0.1:8080"
  size_t hosts = 0, routes = 0, certificates = 0;
  // "Ingress default/web: spec.rules[0].http.paths[0].backend.service: Service 'shop' not found:
  // answering 503"
  std::vector<std::string> problems;
  uint64_t requests = 0;
};

// start() and publish() belong to one thread (the feed's); status() is thread-safe. The Registry
// and the Log's sink must outlive the Server.
class Server {
 public:
  // Checks the configuration; opens the access log; makes the default certificate.
  static Result<std::unique_ptr<Server>> create(Config config, const Log& log, Registry& registry);

  // Binds every address once per worker (SO_REUSEPORT) and starts the workers. Port 0 picks a
  // free one: see Status::listening.
  Result<void> start();

  // Makes a new route table and hands it to the workers. Requests in flight keep the table they
  // began with; no connection is closed. May be called before start().
  void publish(std::shared_ptr<const api::Snapshot> snapshot, const api::Changes& changes);

  Status status() const;

  // Stops accepting, gives requests in flight limits.drain_timeout, then closes and joins.
  ~Server();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::ingress
