// The continue token of a chunked list: which state, and after which object to go on.
// Source: apiserver pkg/storage/continue.go (base64url of JSON).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fairlead::controlplane {

struct ListToken {
  uint64_t revision = 0;  // 0: whatever is newest
  std::string ns, name;   // the last object of the page before

  friend bool operator==(const ListToken&, const ListToken&) = default;
};

std::string encode_token(const ListToken& token);
std::optional<ListToken> decode_token(std::string_view text);

}  // namespace fairlead::controlplane
