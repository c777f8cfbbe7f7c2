#include "controlplane/list_token.h"

#include <algorithm>

#include "api/json.h"
#include "base/text.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kVersion = "meta.k8s.io/v1";
constexpr size_t kMaxTokenBytes = 2048;

}  // namespace

std::string encode_token(const ListToken& token) {
  json::object document{{"v", json::string(kVersion)},
                        {"rv", token.revision == 0 ? -1 : static_cast<int64_t>(token.revision)},
                        {"start", cat(token.ns, "/", token.name)}};
  std::string out = base64_encode(json::serialize(document));
  std::ranges::replace(out, '+', '-');
  std::ranges::replace(out, '/', '_');
  while (out.ends_with('=')) out.pop_back();
  return out;
}

std::optional<ListToken> decode_token(std::string_view text) {
  if (text.size() > kMaxTokenBytes) return std::nullopt;
  std::string padded(text);
  std::ranges::replace(padded, '-', '+');
  std::ranges::replace(padded, '_', '/');
  while (padded.size() % 4 != 0) padded += '=';
  std::optional<std::string> decoded = base64_decode(padded);
  if (!decoded) return std::nullopt;
  Result<json::value> document = parse_json(*decoded);
  if (!document || find_string(*document, "v") != kVersion) return std::nullopt;
  const json::value* revision = find(*document, "rv");
  std::string_view start = find_string(*document, "start");
  size_t slash = start.find('/');
  if (revision == nullptr || !revision->is_int64() || slash == std::string_view::npos ||
      slash + 1 == start.size())
    return std::nullopt;
  ListToken out;
  out.revision = static_cast<uint64_t>(std::max<int64_t>(revision->get_int64(), 0));
  out.ns = start.substr(0, slash);
  out.name = start.substr(slash + 1);
  return out;
}

}  // namespace fairlead::controlplane
