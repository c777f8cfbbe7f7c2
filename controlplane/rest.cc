#include "controlplane/rest.h"

#include "base/text.h"
#include "controlplane/discovery.h"
#include "controlplane/objects/openapi.h"

namespace fairlead::controlplane {
namespace {

net::HttpResponse document(std::optional<std::string> body) {
  if (!body) return net::HttpResponse::text(404, "404 page not found\n");
  return net::HttpResponse::json(200, *std::move(body));
}

net::HttpResponse typed(std::string_view content_type, std::string body) {
  net::HttpResponse response;
  response.headers.add("Content-Type", std::string(content_type));
  response.body = std::move(body);
  return response;
}

std::vector<OpenApiKind> openapi_kinds(const ResourceTable& table) {
  std::vector<OpenApiKind> out;
  for (const Resource& row : table.all())
    out.push_back({.group = row.group,
                   .version = row.version,
                   .kind = row.kind,
                   .plural = row.plural,
                   .namespaced = row.namespaced,
                   .has_status = row.has_status(),
                   .definition = row.schema});
  return out;
}

std::string root_document(const ResourceTable& table) {
  json::array paths{"/api", "/api/v1", "/apis"};
  for (const std::string& version : table.group_versions())
    if (version.find('/') != std::string::npos) paths.push_back(json::string("/apis/" + version));
  for (std::string_view path :
       {"/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"})
    paths.push_back(json::string(path));
  json::object out;
  out["paths"] = std::move(paths);
  return json::serialize(out);
}

}  // namespace

Api::Api(Parts parts, Log log)
    : parts_(parts),
      log_(std::move(log)),
      seconds_(parts.registry.histogram("fairlead_apiserver_request_seconds",
                                        "Time from a request to its answer, watches excepted.",
                                        latency_bounds_s())) {}

Api::~Api() = default;

void Api::handle(net::HttpRequest request, std::unique_ptr<net::Responder> responder) {
  auto exchange =
      std::make_unique<Exchange>(std::move(request), std::move(responder), parts_.clock.now());
  const net::HttpRequest& asked = exchange->request;
  Outcome<User> user = authenticate(asked, parts_.own_uid);
  if (!user) return reply(*exchange, user.error());
  exchange->user = *std::move(user);
  Outcome<std::optional<Route>> route =
      parse_route(parts_.resources, asked.method, asked.path(), exchange->query);
  if (!route) {
    // What is served is nobody's business who may not use it.
    auto allowed = authorize(exchange->user, nullptr, asked.method, asked.path());
    return reply(*exchange, allowed ? route.error() : allowed.error());
  }
  exchange->route = *std::move(route);
  const Route* resource = exchange->route ? &*exchange->route : nullptr;
  if (auto allowed = authorize(exchange->user, resource, asked.method, asked.path()); !allowed)
    return reply(*exchange, allowed.error());
  if (resource == nullptr) return serve_document(*exchange);
  Outcome<View> view = negotiate(asked.headers.get("Accept"), exchange->query);
  if (!view) return reply(*exchange, view.error());
  exchange->view = *view;
  exchange->view.old_version = resource->old_version;
  serve_resource(std::move(exchange));
}

void Api::serve_resource(ExchangePtr exchange) {
  std::string_view verb = exchange->route->verb;
  if (verb == "get") return get(*exchange);
  if (verb == "list") return list(*exchange);
  if (verb == "watch") return watch(std::move(exchange));
  if (verb == "delete") return remove(std::move(exchange));
  if (verb == "deletecollection") return remove_collection(std::move(exchange));
  if (exchange->route->subresource == "eviction") return evict(std::move(exchange));
  write(std::move(exchange));
}

void Api::reply(Exchange& exchange, net::HttpResponse response) {
  count(exchange, response.status);
  std::chrono::duration<double> took = parts_.clock.now() - exchange.begun;
  seconds_.observe(took.count());
  if (response.status >= 500)
    log_.warn("request failed", {{"method", exchange.request.method},
                                 {"path", exchange.request.path()},
                                 {"status", response.status},
                                 {"answer", std::string_view(response.body).substr(0, 300)}});
  response.headers.set("Cache-Control", "no-cache, private");
  exchange.responder->send(std::move(response));
}

void Api::count(const Exchange& exchange, int status) {
  const std::optional<Route>& route = exchange.route;
  parts_.registry
      .counter("fairlead_apiserver_requests_total", "Requests by verb, resource and status.",
               {{"verb", std::string(route ? route->verb : exchange.request.method)},
                {"resource", route ? std::string(route->resource->plural) : std::string()},
                {"code", cat(status)}})
      .add();
}

void Api::serve_document(Exchange& exchange) {
  const net::HttpRequest& request = exchange.request;
  if (request.method != "GET" && request.method != "HEAD")
    return reply(exchange, method_not_allowed(request.method));
  std::string_view accept = request.headers.get("Accept");
  std::vector<std::string_view> parts = split(trim(request.path()), '/');
  std::erase(parts, std::string_view());
  std::string_view first = parts.empty() ? std::string_view() : parts[0];
  size_t count = parts.size();
  if (count == 0) return reply(exchange, document(root_document(parts_.resources)));
  if (first == "api" && count == 1) {
    DiscoveryAnswer answer = discover_core(parts_.resources, accept, address_);
    return reply(exchange, typed(answer.content_type, std::move(answer.body)));
  }
  if (first == "api" && count == 2)
    return reply(exchange, document(discover_version(parts_.resources, "", parts[1])));
  if (first == "apis" && count == 1) {
    DiscoveryAnswer answer = discover_groups(parts_.resources, accept);
    return reply(exchange, typed(answer.content_type, std::move(answer.body)));
  }
  if (first == "apis" && count == 2)
    return reply(exchange, document(discover_group(parts_.resources, parts[1])));
  if (first == "apis" && count == 3)
    return reply(exchange, document(discover_version(parts_.resources, parts[1], parts[2])));
  if (first == "version" && count == 1) return reply(exchange, document(version_document()));
  if (first == "healthz" || first == "livez" || first == "readyz")
    return reply(exchange, health(exchange));
  if (first == "metrics" && count == 1)
    return reply(exchange, typed("text/plain; version=0.0.4", parts_.registry.text()));
  if (first == "openapi" && count > 1) return reply(exchange, openapi(exchange));
  reply(exchange, net::HttpResponse::text(404, "404 page not found\n"));
}

net::HttpResponse Api::health(const Exchange& exchange) const {
  const std::string& trouble = parts_.store.trouble();
  if (exchange.request.path().starts_with("/readyz") && (!ready_ || !trouble.empty())) {
    // A full disk is no reason to be restarted: it only makes the server not ready.
    const std::string why =
        ready_ ? cat("store failed: ", trouble) : "first objects are being made";
    return net::HttpResponse::text(500, cat("[-]", why, "\nreadyz check failed\n"));
  }
  std::string text = "ok";
  if (exchange.query.has("verbose")) text = "[+]ping ok\n[+]store ok\ncheck passed\n";
  return net::HttpResponse::text(200, std::move(text));
}

net::HttpResponse Api::openapi(const Exchange& exchange) {
  std::string path(exchange.request.path());
  std::string_view accept = exchange.request.headers.get("Accept");
  bool v2 = path == "/openapi/v2";
  bool protobuf = v2 && accept.find("protobuf") != std::string_view::npos;
  std::string key = path + (protobuf ? "+protobuf" : "");
  auto cached = openapi_cache_.find(key);
  if (cached == openapi_cache_.end()) {
    std::vector<OpenApiKind> kinds = openapi_kinds(parts_.resources);
    const api::Schema& schema = parts_.rules.schema();
    std::vector<std::string_view> parts = split(path, '/');  // "", "openapi", "v3", ...
    std::string made;
    if (v2)
      made = protobuf ? openapi_v2_protobuf(schema, kinds) : openapi_v2_json(schema, kinds);
    else if (path == "/openapi/v3")
      made = openapi_v3_index(schema, kinds);
    else if (parts.size() == 5 && parts[2] == "v3" && parts[3] == "api")
      made = openapi_v3_document(schema, kinds, "", parts[4]);
    else if (parts.size() == 6 && parts[2] == "v3" && parts[3] == "apis")
      made = openapi_v3_document(schema, kinds, parts[4], parts[5]);
    if (made.empty()) return net::HttpResponse::text(404, "404 page not found\n");
    cached = openapi_cache_.emplace(std::move(key), std::move(made)).first;
  }
  return typed(protobuf ? openapi_v2_content_type : "application/json", cached->second);
}

}  // namespace fairlead::controlplane
