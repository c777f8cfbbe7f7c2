// The protobuf wire format, read only: tags, varints and length-delimited fields.
// Source: protobuf encoding specification. Groups (wire types 3 and 4) are refused: Kubernetes
// never uses them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fairlead::controlplane {

struct WireField {
  uint32_t number = 0;
  uint8_t type = 0;        // 0 varint, 1 fixed64, 2 bytes, 5 fixed32
  uint64_t varint = 0;     // type 0
  std::string_view bytes;  // types 1, 2 and 5
};

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : left_(bytes) {}

  bool done() const { return left_.empty(); }
  // The next field, or nothing when the bytes are cut short or make no sense.
  std::optional<WireField> next() {
    const auto tag = varint();
    if (!tag || (*tag >> 3) == 0 || (*tag >> 3) > 0x1fffffff) return std::nullopt;
    WireField field;
    field.number = static_cast<uint32_t>(*tag >> 3);
    field.type = static_cast<uint8_t>(*tag & 7);
    uint64_t length = 0;
    if (field.type == 0) {
      const auto value = varint();
      if (!value) return std::nullopt;
      field.varint = *value;
      return field;
    }
    if (field.type == 1) {
      length = 8;
    } else if (field.type == 5) {
      length = 4;
    } else if (field.type == 2) {
      const auto value = varint();
      if (!value) return std::nullopt;
      length = *value;
    } else {
      return std::nullopt;
    }
    if (length > left_.size()) return std::nullopt;
    field.bytes = left_.substr(0, length);
    left_.remove_prefix(length);
    return field;
  }

  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !left_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(left_.front());
      left_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return std::nullopt;
  }

 private:
  std::string_view left_;
};

}  // namespace fairlead::controlplane
