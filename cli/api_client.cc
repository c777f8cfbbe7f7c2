#include "cli/api_client.h"

#include <thread>

#include "base/text.h"

namespace fairlead::cli {
namespace {

constexpr std::string_view merge_patch = "application/merge-patch+json";
constexpr std::string_view plain_json = "application/json";

// A server behind the API server's address may answer in its own words, or in none.
Result<void> check(const Result<json::value>& answer, int status, std::string_view what) {
  if (status >= 300 && answer && !find_string(*answer, "message").empty()) {
    return fail(cat(what, ": ", find_string(*answer, "message")));
  }
  if (status >= 300) return fail(cat(what, ": ", status, ' ', net::reason_phrase(status)));
  if (!answer) return fail(what, answer.error());
  return {};
}

}  // namespace

std::string collection_of(const api::KindInfo& kind, std::string_view ns) {
  std::string path = api::collection_path(kind);
  if (!kind.namespaced || ns.empty()) return path;
  return cat(path.substr(0, path.size() - kind.plural.size()), "namespaces/", ns, '/', kind.plural);
}

Result<json::value> ApiClient::send(std::string method, std::string target,
                                    std::string content_type, std::string body, int& status) const {
  net::HttpRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers = headers_;
  if (!body.empty()) request.headers.set("Content-Type", std::move(content_type));
  request.body = std::move(body);
  FL_TRY(const auto response, net::fetch(target_, std::move(request)));
  status = response.status;
  return parse_json(response.body);
}

Result<void> ApiClient::apply(const json::value& document) const {
  const auto* kind =
      api::find_kind(find_string(document, "apiVersion"), find_string(document, "kind"));
  if (kind == nullptr) return fail(cat("cannot apply a ", find_string(document, "kind")));
  const std::string name(find_string(document, "metadata", "name"));
  const std::string collection =
      collection_of(*kind, find_string(document, "metadata", "namespace"));
  const std::string what = cat(kind->name, ' ', name);
  const std::string body = json::serialize(document);
  int status = 0;
  auto answer = send("POST", collection, std::string(plain_json), body, status);
  if (status == 409) {
    answer = send("PATCH", cat(collection, '/', name), std::string(merge_patch), body, status);
  }
  FL_TRY_VOID(check(answer, status, what));
  if (const auto* wanted = find(document, "status")) {
    const json::value patch{{"status", *wanted}};
    answer = send("PATCH", cat(collection, '/', name, "/status"), std::string(merge_patch),
                  json::serialize(patch), status);
    FL_TRY_VOID(check(answer, status, what + " status"));
  }
  return {};
}

Result<void> ApiClient::remove(const api::KindInfo& kind, const api::ObjectKey& key) const {
  int status = 0;
  const auto answer = send("DELETE", cat(collection_of(kind, key.ns), '/', key.name),
                           std::string(plain_json), R"({"gracePeriodSeconds":0})", status);
  if (status == 404) return {};
  return check(answer, status, cat(kind.name, ' ', key.to_string()));
}

Result<std::vector<json::value>> ApiClient::list(const api::KindInfo& kind,
                                                 const std::string& label_selector) const {
  std::string target = api::collection_path(kind);
  if (!label_selector.empty()) target += "?labelSelector=" + net::percent_encode(label_selector);
  int status = 0;
  const auto answer = send("GET", target, "", "", status);
  FL_TRY_VOID(check(answer, status, cat("list of ", kind.plural)));
  std::vector<json::value> items;
  if (const auto* list = find(*answer, "items"); list != nullptr && list->is_array()) {
    items.assign(list->get_array().begin(), list->get_array().end());
  }
  return items;
}

Result<void> ApiClient::wait_ready(Duration at_most) const {
  const auto deadline = std::chrono::steady_clock::now() + at_most;
  for (;;) {
    net::HttpRequest request;
    request.target = "/readyz";
    request.headers = headers_;
    const auto response = net::fetch(target_, std::move(request), std::chrono::seconds(2));
    if (response && response->status == 200) return {};
    if (std::chrono::steady_clock::now() > deadline) {
      return fail(response ? cat("not ready: ", response->body) : response.error().message);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace fairlead::cli
