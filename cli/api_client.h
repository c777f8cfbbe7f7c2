// A few blocking calls to an API server, for commands and the lab.
#pragma once

#include <string>
#include <vector>

#include "api/json.h"
#include "api/kinds.h"
#include "base/clock.h"
#include "base/result.h"
#include "net/http_client.h"

namespace fairlead::cli {

class ApiClient {
 public:
  explicit ApiClient(net::HttpTarget target, net::Headers headers = {})
      : target_(std::move(target)), headers_(std::move(headers)) {}

  // Creates the object, or merges it into the one that is there; then its status, if the document
  // has one. Errors carry the server's own message.
  Result<void> apply(const json::value& document) const;
  // At once, without grace. Absent is no error.
  Result<void> remove(const api::KindInfo& kind, const api::ObjectKey& key) const;
  Result<std::vector<json::value>> list(const api::KindInfo& kind,
                                        const std::string& label_selector = {}) const;
  // Until GET /readyz answers 200. The error is the last answer.
  Result<void> wait_ready(Duration at_most) const;

 private:
  Result<json::value> send(std::string method, std::string target, std::string content_type,
                           std::string body, int& status) const;

  net::HttpTarget target_;
  net::Headers headers_;
};

// "/api/v1/namespaces/default/pods" for a namespaced kind.
std::string collection_of(const api::KindInfo& kind, std::string_view ns);

}  // namespace fairlead::cli
