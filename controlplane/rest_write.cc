// create, update, patch, delete and eviction.
#include "base/text.h"
#include "controlplane/object_meta.h"
#include "controlplane/rest.h"
#include "controlplane/writer_parts.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kApplyPatch = "application/apply-patch+yaml";

Target target_of(const Route& route) {
  return {route.resource, route.ns, route.name, route.subresource};
}

// RFC 9110 section 5.6.4: a quoted string has no bare quotes, backslashes or control characters.
std::string warning_header(std::string_view text) {
  std::string out = "299 - \"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  out += '"';
  return out;
}

std::string success_status(const Resource& resource, const StoredObject& object) {
  json::object details{{"name", object.name}};
  if (!resource.group.empty()) details["group"] = json::string(resource.group);
  details["kind"] = json::string(resource.plural);
  details["uid"] = json::string(find_string(document_of(object), "metadata", "uid"));
  json::object status{{"kind", "Status"},
                      {"apiVersion", "v1"},
                      {"metadata", json::object{}},
                      {"status", "Success"},
                      {"details", std::move(details)}};
  return json::serialize(status);
}

}  // namespace

void Api::reply_written(Exchange& exchange, Outcome<Written> written) {
  if (!written) return reply(exchange, written.error());
  const Resource& resource = *exchange.route->resource;
  bool as_status =
      written->removed && exchange.route->verb == "delete" && !resource.returns_deleted;
  std::string body =
      as_status ? success_status(resource, *written->object)
                : render_object(exchange.view, resource, *written->object, parts_.clock.wall());
  net::HttpResponse response =
      net::HttpResponse::json(written->created ? 201 : 200, std::move(body));
  for (const std::string& warning : written->warnings)
    response.headers.add("Warning", warning_header(warning));
  reply(exchange, std::move(response));
}

void Api::write(ExchangePtr exchange) {
  Outcome<WriteOptions> options = write_options(exchange->query);
  if (!options) return reply(*exchange, options.error());
  const Route& route = *exchange->route;
  if (route.verb == "patch") return patch(std::move(exchange), *std::move(options));
  Outcome<Body> body = read_body(exchange->request, parts_.rules);
  if (!body) return reply(*exchange, body.error());
  options->duplicates = std::move(body->duplicates);
  Target target = target_of(route);
  bool create = route.verb == "create";
  auto done = [this, exchange = std::move(exchange)](Outcome<Written> written) {
    reply_written(*exchange, std::move(written));
  };
  if (create)
    parts_.writer.create(std::move(target), std::move(body->document), *std::move(options),
                         std::move(done));
  else
    parts_.writer.update(std::move(target), std::move(body->document), *std::move(options),
                         std::move(done));
}

void Api::patch(ExchangePtr exchange, WriteOptions options) {
  std::string type = media_type(exchange->request);
  if (type == kApplyPatch)
    return reply(*exchange,
                 unsupported_media_type("server-side apply is not supported by this server; use "
                                        "client-side apply (kubectl apply without --server-side)"));
  std::optional<PatchType> patch_type = parse_patch_type(type);
  if (!patch_type)
    return reply(*exchange,
                 unsupported_media_type(
                     cat("the body of the request was in an unknown format (", type,
                         ") - accepted media types include: application/json-patch+json, "
                         "application/merge-patch+json, application/strategic-merge-patch+json")));
  Result<json::value> document = parse_json(exchange->request.body);
  if (!document) return reply(*exchange, bad_request(document.error().message));
  Target target = target_of(*exchange->route);
  parts_.writer.patch(std::move(target), *patch_type, *document, std::move(options),
                      [this, exchange = std::move(exchange)](Outcome<Written> written) {
                        reply_written(*exchange, std::move(written));
                      });
}

void Api::remove(ExchangePtr exchange) {
  Outcome<DeleteOptions> options = delete_options(exchange->request, exchange->query, parts_.rules);
  if (!options) return reply(*exchange, options.error());
  Target target = target_of(*exchange->route);
  parts_.writer.remove(target, *options,
                       [this, exchange = std::move(exchange)](Outcome<Written> written) {
                         reply_written(*exchange, std::move(written));
                       });
}

void Api::remove_collection(ExchangePtr exchange) {
  Outcome<DeleteOptions> options = delete_options(exchange->request, exchange->query, parts_.rules);
  if (!options) return reply(*exchange, options.error());
  Outcome<Selection> selection = read_selection(*exchange->route, exchange->query);
  if (!selection) return reply(*exchange, selection.error());
  const Resource& resource = *exchange->route->resource;
  parts_.writer.remove_selected(
      resource, *selection, *options,
      [this, exchange = std::move(exchange)](Outcome<std::vector<ObjectPtr>> removed) {
        if (!removed) return reply(*exchange, removed.error());
        ListPage page{.items = *std::move(removed), .revision = parts_.store.revision()};
        reply(*exchange,
              net::HttpResponse::json(200, render_list(exchange->view, *exchange->route->resource,
                                                       page, parts_.clock.wall())));
      });
}

// POST pods/NAME/eviction: a deletion that a drain asks for. There are no disruption budgets here
// that could refuse it.
void Api::evict(ExchangePtr exchange) {
  Outcome<Body> body = read_body(exchange->request, parts_.rules);
  if (!body) return reply(*exchange, body.error());
  const Route& route = *exchange->route;
  if (find_string(body->document, "kind") != "Eviction")
    return reply(*exchange, bad_request("the body is not an Eviction"));
  if (std::string_view name = find_string(body->document, "metadata", "name");
      !name.empty() && name != route.name)
    return reply(*exchange, bad_request(cat("name in URL (", route.name,
                                            ") does not match name in Eviction (", name, ")")));
  const json::value* given = find(body->document, "deleteOptions");
  Outcome<DeleteOptions> options =
      delete_options(given != nullptr ? *given : json::value(json::object{}), exchange->query);
  if (!options) return reply(*exchange, options.error());
  Target target{route.resource, route.ns, route.name, ""};
  parts_.writer.remove(target, *options,
                       [this, exchange = std::move(exchange)](const Outcome<Written>& written) {
                         if (!written) return reply(*exchange, written.error());
                         json::object status{{"kind", "Status"},
                                             {"apiVersion", "v1"},
                                             {"metadata", json::object{}},
                                             {"status", "Success"},
                                             {"code", 201}};
                         reply(*exchange, net::HttpResponse::json(201, json::serialize(status)));
                       });
}

}  // namespace fairlead::controlplane
