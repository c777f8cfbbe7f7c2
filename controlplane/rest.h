// The API server: HTTP requests in, answers and watch streams out. One object on one loop; all
// that it reads is in memory, and writes are answered when the log says so.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "controlplane/exchange.h"
#include "controlplane/hub.h"
#include "controlplane/objects/rules.h"
#include "controlplane/resource.h"
#include "controlplane/store.h"
#include "controlplane/writer.h"
#include "net/event_loop.h"
#include "net/http_server.h"

namespace fairlead::controlplane {

class Api {
 public:
  struct Parts {  // all of them outlive the Api
    net::EventLoop& loop;
    const ResourceTable& resources;
    const ObjectRules& rules;
    Store& store;
    Hub& hub;
    Writer& writer;
    const Clock& clock;
    Registry& registry;
    uid_t own_uid;  // whose unix socket connections are trusted, besides uid 0
  };
  Api(Parts parts, Log log);
  ~Api();

  // For net::HttpServer.
  void handle(net::HttpRequest request, std::unique_ptr<net::Responder> responder);

  // "host:port", for clients of the old discovery.
  void set_address(std::string address) { address_ = std::move(address); }
  // Until then /readyz says no: the first namespaces and Services are not there yet.
  void set_ready() { ready_ = true; }

 private:
  using ExchangePtr = std::unique_ptr<Exchange>;

  void reply(Exchange& exchange, net::HttpResponse response);
  void reply(Exchange& exchange, const ApiError& error) { reply(exchange, to_response(error)); }
  void reply_written(Exchange& exchange, Outcome<Written> written);
  void count(const Exchange& exchange, int status);

  void serve_resource(ExchangePtr exchange);
  void get(Exchange& exchange);
  void list(Exchange& exchange);
  void watch(ExchangePtr exchange);
  void write(ExchangePtr exchange);
  void patch(ExchangePtr exchange, WriteOptions options);
  void remove(ExchangePtr exchange);
  void remove_collection(ExchangePtr exchange);
  void evict(ExchangePtr exchange);

  Outcome<ListPage> page(const Route& route, const Query& query) const;
  void serve_document(Exchange& exchange);
  net::HttpResponse health(const Exchange& exchange) const;
  net::HttpResponse openapi(const Exchange& exchange);

  Parts parts_;
  Log log_;
  std::string address_ = "127.0.0.1";
  bool ready_ = false;
  std::unordered_map<std::string, std::string> openapi_cache_;  // by path; made when asked for
  Histogram& seconds_;
};

}  // namespace fairlead::controlplane
