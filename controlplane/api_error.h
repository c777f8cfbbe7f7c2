// Failures as the API tells them: an HTTP code and a meta/v1 Status.
// Source: apimachinery pkg/api/errors (reasons, texts that clients match).
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "controlplane/objects/admission.h"
#include "controlplane/resource.h"
#include "net/http.h"

namespace fairlead::controlplane {

struct ApiError {
  int code = 500;
  std::string reason = "InternalError";
  std::string message;
  // Status.details; all optional.
  std::string name, group, kind, uid;
  std::vector<FieldError> causes;
  int retry_after_s = 0;
  std::string continue_token;  // Status.metadata.continue, with 410 on a list

  friend bool operator==(const ApiError&, const ApiError&) = default;
};

template <class T>
using Outcome = std::expected<T, ApiError>;

std::string status_json(const ApiError& error);
net::HttpResponse to_response(const ApiError& error);

ApiError bad_request(std::string message);  // 400
ApiError unauthorized();                    // 401
ApiError forbidden(const Resource& resource, std::string_view name, std::string_view why);
ApiError not_found(const Resource& resource, std::string_view name);       // 404
ApiError unknown_path();                                                   // 404
ApiError method_not_allowed(std::string_view method);                      // 405
ApiError not_acceptable();                                                 // 406
ApiError already_exists(const Resource& resource, std::string_view name);  // 409
ApiError conflict(const Resource& resource, std::string_view name, std::string_view why = {});
ApiError expired(std::string message);                 // 410
ApiError unsupported_media_type(std::string message);  // 415
ApiError invalid(const Resource& resource, std::string_view name,
                 std::vector<FieldError> causes);                           // 422
ApiError invalid_option(std::string_view option, std::string_view detail);  // 422
ApiError internal_error(std::string_view message);                          // 500
ApiError too_large_version(uint64_t wanted, uint64_t current);              // 504

}  // namespace fairlead::controlplane
