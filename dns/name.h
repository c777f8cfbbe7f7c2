// Domain names in wire form (RFC 1035 section 3.1): labels, each after its length byte, then the
// root's zero byte. Uncompressed. Comparison ignores ASCII case (RFC 4343).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip.h"

namespace fairlead::dns {

inline constexpr size_t max_name_bytes = 255;
inline constexpr size_t max_label_bytes = 63;
inline constexpr size_t max_labels = 127;

// Presentation form to wire form; the trailing dot is optional, `\.` and `\065` are escapes
// (RFC 1035 section 5.1). Nothing when a label is empty or a limit is passed.
std::optional<std::string> name_to_wire(std::string_view text);
// REQUIRES: `wire` is a whole valid name. Absolute: "web.default." or ".".
std::string name_to_text(std::string_view wire);
// One label, without length byte, as text with escapes.
std::string label_to_text(std::string_view label);

// Lower-cases a wire name in place. Length bytes are at most 63, below 'A', and so stay.
void fold_case(uint8_t* bytes, size_t size);

size_t count_labels(std::string_view wire);  // without the root

// A lower-cased name with the places of its labels, without allocation.
struct FoldedName {
  std::array<uint8_t, max_name_bytes + 1> bytes;
  std::array<uint8_t, max_labels + 1> offsets;  // of each label's length byte, then of the root
  uint16_t size = 0;                            // bytes, root included
  uint8_t labels = 0;                           // without the root

  // False when `data` does not begin with a valid uncompressed name.
  bool assign(const uint8_t* data, size_t available);
  bool assign(std::string_view wire) {
    return assign(reinterpret_cast<const uint8_t*>(wire.data()), wire.size());
  }
  // The name from label `i` on, as a wire name; from(0) is all of it.
  std::string_view from(size_t i) const { return between(i, labels, 1); }
  // Labels i..j-1 as wire bytes, without a root.
  std::string_view between(size_t i, size_t j, size_t extra = 0) const {
    return {reinterpret_cast<const char*>(bytes.data()) + offsets[i],
            static_cast<size_t>(offsets[j] - offsets[i]) + extra};
  }
  std::string_view label(size_t i) const { return between(i, i + 1).substr(1); }
  // `zone` is a lower-case wire name with `zone_labels` labels.
  bool is_within(std::string_view zone, size_t zone_labels) const {
    return zone_labels <= labels && from(labels - zone_labels) == zone;
  }
};

// "4.3.2.1.in-addr.arpa." and the ip6.arpa nibbles (RFC 3596 section 2.5). Nothing when the name
// is not a whole address.
std::optional<Ip> reverse_to_address(const FoldedName& name);
std::string address_to_reverse(const Ip& ip);  // presentation form, absolute

}  // namespace fairlead::dns
