#include "dns/name.h"

#include <cstring>

#include "base/text.h"

namespace fairlead::dns {
namespace {

// Reads one character of a label, escapes resolved. `at` moves past it.
std::optional<uint8_t> read_character(std::string_view text, size_t& at) {
  if (text[at] != '\\') return static_cast<uint8_t>(text[at++]);
  if (++at >= text.size()) return std::nullopt;
  if (text[at] < '0' || text[at] > '9') return static_cast<uint8_t>(text[at++]);
  if (at + 3 > text.size()) return std::nullopt;
  const auto code = parse_int(text.substr(at, 3), 0, 255);
  if (!code) return std::nullopt;
  at += 3;
  return static_cast<uint8_t>(*code);
}

std::optional<Ip> reverse_v4(const FoldedName& name) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) {
    const std::string_view label = name.label(i);
    if (label.size() > 1 && label[0] == '0') return std::nullopt;
    const auto octet = parse_int(label, 0, 255);
    if (!octet) return std::nullopt;
    value = value << 8 | static_cast<uint32_t>(*octet);
  }
  return Ip::v4(value);
}

int nibble(std::string_view label) {
  if (label.size() != 1) return -1;
  const char c = label[0];
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::optional<Ip> reverse_v6(const FoldedName& name) {
  std::array<uint8_t, 16> bytes{};
  for (size_t i = 0; i < 32; ++i) {
    const int value = nibble(name.label(31 - i));
    if (value < 0) return std::nullopt;
    bytes[i / 2] = static_cast<uint8_t>(bytes[i / 2] << 4 | value);
  }
  return Ip::v6(bytes);
}

}  // namespace

std::optional<std::string> name_to_wire(std::string_view text) {
  std::string wire;
  if (text == ".") return std::string(1, '\0');
  for (size_t at = 0; at < text.size();) {
    const size_t length_at = wire.size();
    wire += '\0';
    while (at < text.size() && text[at] != '.') {
      const auto character = read_character(text, at);
      if (!character) return std::nullopt;
      wire += static_cast<char>(*character);
    }
    const size_t length = wire.size() - length_at - 1;
    if (length == 0 || length > max_label_bytes) return std::nullopt;
    wire[length_at] = static_cast<char>(length);
    ++at;  // the dot
  }
  wire += '\0';
  if (wire.size() == 1 || wire.size() > max_name_bytes) return std::nullopt;
  return wire;
}

std::string label_to_text(std::string_view label) {
  std::string out;
  for (const char c : label) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte <= ' ' || byte >= 0x7f) {
      out += '\\';
      out += static_cast<char>('0' + byte / 100);
      out += static_cast<char>('0' + byte / 10 % 10);
      out += static_cast<char>('0' + byte % 10);
      continue;
    }
    if (std::string_view(".\\\"();@$").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string name_to_text(std::string_view wire) {
  std::string out;
  for (size_t at = 0; at < wire.size() && wire[at] != 0;) {
    const auto length = static_cast<uint8_t>(wire[at]);
    out += label_to_text(wire.substr(at + 1, length));
    out += '.';
    at += 1 + length;
  }
  return out.empty() ? "." : out;
}

void fold_case(uint8_t* bytes, size_t size) {
  constexpr uint64_t ones = 0x0101010101010101;
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    // A byte in 'A'..'Z' sets its top bit in exactly one of the two sums.
    const uint64_t low_bits = word & (0x7f * ones);
    const uint64_t from_a = low_bits + (0x80 - 'A') * ones;
    const uint64_t past_z = low_bits + (0x7f - 'Z') * ones;
    const uint64_t upper = (from_a ^ past_z) & ~word & (0x80 * ones);
    word |= upper >> 2;
    std::memcpy(bytes + i, &word, 8);
  }
  for (; i < size; ++i) {
    if (bytes[i] >= 'A' && bytes[i] <= 'Z') bytes[i] |= 0x20;
  }
}

size_t count_labels(std::string_view wire) {
  size_t labels = 0;
  for (size_t at = 0; at < wire.size() && wire[at] != 0; ++labels) {
    at += 1 + static_cast<uint8_t>(wire[at]);
  }
  return labels;
}

bool FoldedName::assign(const uint8_t* data, size_t available) {
  const size_t limit = std::min(available, max_name_bytes);
  size_t at = 0;
  size_t count = 0;
  for (;;) {
    if (at >= limit) return false;
    const uint8_t length = data[at];
    offsets[count] = static_cast<uint8_t>(at);
    if (length == 0) break;
    if (length > max_label_bytes) return false;  // a pointer, or an obsolete label type
    at += 1 + length;
    ++count;  // at most 127: each takes two bytes of 255
  }
  size = static_cast<uint16_t>(at + 1);
  labels = static_cast<uint8_t>(count);
  std::memcpy(bytes.data(), data, size);
  fold_case(bytes.data(), size);
  return true;
}

std::optional<Ip> reverse_to_address(const FoldedName& name) {
  using namespace std::string_view_literals;
  if (name.labels == 6 && name.from(4) == "\7in-addr\4arpa\0"sv) return reverse_v4(name);
  if (name.labels == 34 && name.from(32) == "\3ip6\4arpa\0"sv) return reverse_v6(name);
  return std::nullopt;
}

std::string address_to_reverse(const Ip& ip) {
  std::string out;
  if (ip.is_v4()) {
    for (size_t i = 16; i-- > 12;) out += cat(static_cast<unsigned>(ip.bytes[i]), '.');
    return out + "in-addr.arpa.";
  }
  constexpr std::string_view digits = "0123456789abcdef";
  for (size_t i = 16; i-- > 0;) {
    out += cat(digits[ip.bytes[i] & 15], '.', digits[ip.bytes[i] >> 4], '.');
  }
  return out + "ip6.arpa.";
}

}  // namespace fairlead::dns
