#include "controlplane/api_error.h"

#include "api/utf8.h"
#include "base/text.h"

namespace fairlead::controlplane {
namespace {

// 'Operation cannot be fulfilled on <group resource> "<name>": ...' and its kin begin like this.
std::string named(const Resource& resource, std::string_view name) {
  return cat(resource.group_resource(), " \"", name, "\"");
}

ApiError about(int code, std::string_view reason, const Resource& resource, std::string_view name,
               std::string message) {
  return {.code = code,
          .reason = std::string(reason),
          .message = std::move(message),
          .name = std::string(name),
          .group = std::string(resource.group),
          .kind = std::string(resource.plural)};
}

json::object details_json(const ApiError& error) {
  json::object details;
  if (!error.name.empty()) details["name"] = error.name;
  if (!error.group.empty()) details["group"] = error.group;
  if (!error.kind.empty()) details["kind"] = error.kind;
  if (!error.uid.empty()) details["uid"] = error.uid;
  if (!error.causes.empty()) {
    json::array causes;
    for (const FieldError& cause : error.causes) {
      json::object item{{"reason", cause.reason}, {"message", cause.detail}};
      if (!cause.field.empty()) item["field"] = cause.field;
      causes.push_back(std::move(item));
    }
    details["causes"] = std::move(causes);
  }
  if (error.retry_after_s > 0) details["retryAfterSeconds"] = error.retry_after_s;
  return details;
}

}  // namespace

std::string status_json(const ApiError& error) {
  json::object metadata;
  if (!error.continue_token.empty()) metadata["continue"] = error.continue_token;
  json::object status{{"kind", "Status"},    {"apiVersion", "v1"},       {"metadata", metadata},
                      {"status", "Failure"}, {"message", error.message}, {"reason", error.reason}};
  if (json::object details = details_json(error); !details.empty())
    status["details"] = std::move(details);
  status["code"] = error.code;
  return api::to_utf8(json::serialize(status));  // a message may quote any bytes of a URL
}

net::HttpResponse to_response(const ApiError& error) {
  net::HttpResponse response = net::HttpResponse::json(error.code, status_json(error));
  if (error.retry_after_s > 0) response.headers.add("Retry-After", cat(error.retry_after_s));
  return response;
}

ApiError bad_request(std::string message) {
  return {.code = 400, .reason = "BadRequest", .message = std::move(message)};
}

ApiError unauthorized() {
  return {.code = 401, .reason = "Unauthorized", .message = "Unauthorized"};
}

ApiError forbidden(const Resource& resource, std::string_view name, std::string_view why) {
  std::string subject = name.empty() ? resource.group_resource() : named(resource, name);
  return about(403, "Forbidden", resource, name, cat(subject, " is forbidden: ", why));
}

ApiError not_found(const Resource& resource, std::string_view name) {
  return about(404, "NotFound", resource, name, cat(named(resource, name), " not found"));
}

ApiError unknown_path() {
  return {.code = 404,
          .reason = "NotFound",
          .message = "the server could not find the requested resource"};
}

ApiError method_not_allowed(std::string_view method) {
  return {.code = 405,
          .reason = "MethodNotAllowed",
          .message = cat("the server does not allow ", method, " on the requested resource")};
}

ApiError not_acceptable() {
  return {.code = 406,
          .reason = "NotAcceptable",
          .message = "only the following media types are accepted: application/json"};
}

ApiError already_exists(const Resource& resource, std::string_view name) {
  return about(409, "AlreadyExists", resource, name, cat(named(resource, name), " already exists"));
}

ApiError conflict(const Resource& resource, std::string_view name, std::string_view why) {
  if (why.empty())
    why =
        "the object has been modified; please apply your changes to the latest version and try "
        "again";
  return about(409, "Conflict", resource, name,
               cat("Operation cannot be fulfilled on ", named(resource, name), ": ", why));
}

ApiError expired(std::string message) {
  return {.code = 410, .reason = "Expired", .message = std::move(message)};
}

ApiError unsupported_media_type(std::string message) {
  return {.code = 415, .reason = "UnsupportedMediaType", .message = std::move(message)};
}

ApiError invalid(const Resource& resource, std::string_view name, std::vector<FieldError> causes) {
  ApiError error =
      about(422, "Invalid", resource, name,
            cat(resource.group_kind(), " \"", name, "\" is invalid: ", to_string(causes)));
  error.kind = resource.kind;
  error.causes = std::move(causes);
  return error;
}

ApiError invalid_option(std::string_view option, std::string_view detail) {
  FieldError cause{std::string(option), "FieldValueForbidden", cat("Forbidden: ", detail)};
  return {.code = 422,
          .reason = "Invalid",
          .message = cat("ListOptions.meta.k8s.io \"\" is invalid: ", cause.to_string()),
          .group = "meta.k8s.io",
          .kind = "ListOptions",
          .causes = {cause}};
}

ApiError internal_error(std::string_view message) {
  return {
      .code = 500, .reason = "InternalError", .message = cat("Internal error occurred: ", message)};
}

ApiError too_large_version(uint64_t wanted, uint64_t current) {
  return {.code = 504,
          .reason = "Timeout",
          .message = cat("Timeout: Too large resource version: ", wanted, ", current: ", current),
          .causes = {{"", "ResourceVersionTooLarge", "Too large resource version"}},
          .retry_after_s = 1};
}

}  // namespace fairlead::controlplane
