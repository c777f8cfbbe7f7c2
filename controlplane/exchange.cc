#include "controlplane/exchange.h"

#include "api/yaml.h"
#include "base/text.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";
constexpr size_t kMaxJsonBytes = 3 * 1024 * 1024;

bool is_yaml(std::string_view type) {
  return type == "application/yaml" || type == "application/x-yaml" || type == "text/yaml";
}

Outcome<Body> read_yaml(std::string_view text) {
  Result<std::vector<api::YamlDocument>> documents =
      api::parse_yaml(text, "body", {.max_bytes = kMaxJsonBytes});
  if (!documents) return std::unexpected(bad_request(documents.error().message));
  if (documents->size() != 1)
    return std::unexpected(
        bad_request(cat("the body has ", documents->size(), " YAML documents, expected one")));
  return Body{std::move(documents->front().value), {}};
}

Outcome<std::monostate> read_dry_run(std::string_view value, bool& dry_run) {
  if (value.empty()) return {};
  if (value != "All")
    return std::unexpected(bad_request(cat("dryRun: \"", value, "\" is not All")));
  dry_run = true;
  return {};
}

// A member of meta/v1 DeleteOptions that must be a number or absent.
Outcome<std::optional<int64_t>> read_grace(const json::value* value) {
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (!value->is_int64() || value->get_int64() < 0)
    return std::unexpected(bad_request("gracePeriodSeconds: expected a number of seconds >= 0"));
  return value->get_int64();
}

}  // namespace

std::string media_type(const net::HttpRequest& request) {
  std::string_view header = request.headers.get("Content-Type");
  return to_lower(trim(header.substr(0, header.find(';'))));
}

Outcome<Body> read_body(const net::HttpRequest& request, const ObjectRules& rules) {
  std::string type = media_type(request);
  if (trim(request.body).empty()) return std::unexpected(bad_request("the request has no body"));
  if (is_yaml(type)) return read_yaml(request.body);
  if (type == kProtobuf) {
    Result<json::value> document = rules.decode_protobuf(request.body);
    if (!document) return std::unexpected(bad_request(document.error().message));
    return Body{*std::move(document), {}};
  }
  if (!type.empty() && type != "application/json" && type != "*/*")
    return std::unexpected(unsupported_media_type(
        cat("the body of the request was in an unknown format (", type,
            ") - accepted media types include: application/json, application/yaml, ", kProtobuf)));
  Result<json::value> document = parse_json(request.body);
  if (!document) return std::unexpected(bad_request(document.error().message));
  return Body{*std::move(document), duplicate_fields(request.body)};
}

Outcome<WriteOptions> write_options(const Query& query) {
  WriteOptions out;
  if (auto read = read_dry_run(query.get("dryRun"), out.dry_run); !read)
    return std::unexpected(read.error());
  std::string_view validation = query.get("fieldValidation");
  if (validation == "Strict")
    out.validation = FieldValidation::strict;
  else if (validation == "Ignore")
    out.validation = FieldValidation::ignore;
  else if (!validation.empty() && validation != "Warn")
    return std::unexpected(
        bad_request(cat("fieldValidation: \"", validation, "\" is not Ignore, Warn or Strict")));
  return out;
}

Outcome<DeleteOptions> delete_options(const json::value& document, const Query& query) {
  DeleteOptions out;
  if (auto read = read_dry_run(query.get("dryRun"), out.dry_run); !read)
    return std::unexpected(read.error());
  if (const json::value* dry_run = find(document, "dryRun");
      dry_run != nullptr && dry_run->is_array())
    for (const json::value& value : dry_run->get_array()) {
      std::string_view text = value.is_string() ? std::string_view(value.get_string()) : "?";
      if (auto read = read_dry_run(text, out.dry_run); !read) return std::unexpected(read.error());
    }
  Outcome<std::optional<int64_t>> grace = read_grace(find(document, "gracePeriodSeconds"));
  if (!grace) return std::unexpected(grace.error());
  out.grace_s = *grace;
  if (std::string_view text = query.get("gracePeriodSeconds"); !text.empty() && !out.grace_s) {
    out.grace_s = parse_int(text, 0);
    if (!out.grace_s)
      return std::unexpected(bad_request("gracePeriodSeconds: expected a number of seconds >= 0"));
  }
  out.uid = find_string(document, "preconditions", "uid");
  out.resource_version = find_string(document, "preconditions", "resourceVersion");
  return out;
}

Outcome<DeleteOptions> delete_options(const net::HttpRequest& request, const Query& query,
                                      const ObjectRules& rules) {
  if (trim(request.body).empty()) return delete_options(json::value(json::object{}), query);
  Outcome<Body> body = read_body(request, rules);
  if (!body) return std::unexpected(body.error());
  if (!body->document.is_object())
    return std::unexpected(bad_request("the body is not a DeleteOptions object"));
  return delete_options(body->document, query);
}

Outcome<Selection> read_selection(const Route& route, const Query& query) {
  Selection out;
  out.ns = route.ns;
  Result<LabelSelector> labels = LabelSelector::parse(query.get("labelSelector"));
  if (!labels) return std::unexpected(bad_request(labels.error().message));
  out.labels = *std::move(labels);
  std::string fields(query.get("fieldSelector"));
  if (!route.name.empty()) {  // a watch of one object, by its path
    if (!fields.empty()) fields += ',';
    fields += cat("metadata.name=", route.name);
  }
  Result<FieldSelector> parsed = FieldSelector::parse(*route.resource, fields);
  if (!parsed) return std::unexpected(bad_request(parsed.error().message));
  out.fields = *std::move(parsed);
  return out;
}

}  // namespace fairlead::controlplane
