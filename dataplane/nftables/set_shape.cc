#include "dataplane/nftables/set_shape.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/ip.h"
#include "base/text.h"
#include "net/nfnetlink.h"

namespace fairlead::dataplane::nft {
namespace {

size_t size_of(Field field) {
  switch (field) {
    case Field::ip4:
    case Field::number:
      return 4;
    case Field::ip6:
      return 16;
    case Field::protocol:
      return 1;
    case Field::port:
      return 2;
  }
  return 0;
}

Ip ip_of(std::string_view bytes) {
  Ip ip = Ip::v4(0);
  std::memcpy(ip.bytes.data() + (16 - bytes.size()), bytes.data(), bytes.size());
  return ip;
}

void append_field(std::string& out, Field field, std::string_view bytes) {
  switch (field) {
    case Field::ip4:
    case Field::ip6:
      append(out, ip_of(bytes).to_string());
      break;
    case Field::protocol:
      append(out, static_cast<int>(static_cast<uint8_t>(bytes[0])));
      break;
    case Field::port:
      append(out, static_cast<uint8_t>(bytes[0]) << 8 | static_cast<uint8_t>(bytes[1]));
      break;
    case Field::number: {  // numgen writes a register in the machine's order
      uint32_t number;
      std::memcpy(&number, bytes.data(), sizeof number);
      append(out, number);
      break;
    }
  }
}

// The prefix whose first and last addresses these are.
std::optional<std::string> prefix_text(std::string_view first, std::string_view last) {
  size_t bits = 0;
  while (bits < first.size() * 8 &&
         ((first[bits / 8] ^ last[bits / 8]) >> (7 - bits % 8) & 1) == 0) {
    ++bits;
  }
  for (size_t i = bits; i < first.size() * 8; ++i) {
    const auto bit = [&](std::string_view bytes) { return bytes[i / 8] >> (7 - i % 8) & 1; };
    if (bit(first) != 0 || bit(last) != 1) return std::nullopt;
  }
  return cat(ip_of(first).to_string(), "/", bits);
}

std::string hex(std::string_view bytes) { return cat("0x", hex_encode(bytes)); }

std::string verdict_text(std::string_view data) {
  const auto verdict = net::find_attribute(data, NFTA_DATA_VERDICT);
  const auto code = net::find_attribute(verdict.value_or(""), NFTA_VERDICT_CODE);
  const auto chain = net::find_attribute(verdict.value_or(""), NFTA_VERDICT_CHAIN);
  uint32_t number = 0;
  if (code && code->size() == 4) std::memcpy(&number, code->data(), 4);
  const auto value = static_cast<int32_t>(ntohl(number));
  if (!chain) return cat("verdict ", value);
  return cat(value == NFT_GOTO   ? "goto "
             : value == NFT_JUMP ? "jump "
                                 : "verdict ",
             net::attribute_text(*chain));
}

std::string address_before(std::string_view address) {
  std::string out(address);
  for (size_t i = out.size(); i-- > 0;) {
    if (out[i]-- != 0) break;  // borrows from the byte before
  }
  return out;
}

bool is_address(Field field) { return field == Field::ip4 || field == Field::ip6; }

// libnftables' enum datatypes, which it may not change: tables outlive it.
std::optional<Field> field_of(uint32_t datatype) {
  switch (datatype) {
    case 4:
      return Field::number;
    case 7:
      return Field::ip4;
    case 8:
      return Field::ip6;
    case 12:
      return Field::protocol;
    case 13:
      return Field::port;
    default:
      return std::nullopt;
  }
}

std::optional<std::vector<Field>> fields_of(uint32_t types) {
  std::vector<Field> out;
  for (; types != 0; types >>= 6) {
    const auto field = field_of(types & 0x3f);
    if (!field) return std::nullopt;
    out.insert(out.begin(), *field);
  }
  return out;
}

}  // namespace

std::optional<SetShape> shape_of(uint32_t key_type, uint32_t data_type, uint32_t flags) {
  SetShape shape;
  auto key = fields_of(key_type);
  if (!key || key->empty()) return std::nullopt;
  shape.key = *std::move(key);
  shape.verdict = data_type == NFT_DATA_VERDICT;
  if (data_type != 0 && !shape.verdict) {
    auto value = fields_of(data_type);
    if (!value) return std::nullopt;
    shape.value = *std::move(value);
  }
  const bool one_address = shape.key.size() == 1 && is_address(shape.key.front());
  shape.interval = one_address && (flags & NFT_SET_INTERVAL) != 0;
  return shape;
}

std::optional<std::string> fields_text(const std::vector<Field>& fields, std::string_view first,
                                       std::string_view last) {
  std::string out;
  for (size_t i = 0; i < fields.size(); ++i) {
    const size_t size = size_of(fields[i]);
    if (first.size() < size || (!last.empty() && last.size() < size)) return std::nullopt;
    if (!out.empty()) append(out, " . ");
    const std::string_view low = first.substr(0, size), high = last.substr(0, size);
    const bool prefix = !last.empty() && i + 1 == fields.size() && is_address(fields[i]);
    if (prefix) {
      const auto text = prefix_text(low, high);
      if (!text) return std::nullopt;
      append(out, *text);
    } else if (!last.empty() && low != high) {
      return std::nullopt;
    } else {
      append_field(out, fields[i], low);
    }
    const size_t step = (size + 3) / 4 * 4;
    first.remove_prefix(std::min(step, first.size()));
    last.remove_prefix(std::min(step, last.size()));
  }
  if (!first.empty()) return std::nullopt;
  return out;
}

ReadElement read_element(const SetShape& shape, std::string_view attributes) {
  const auto key = net::find_attribute(attributes, NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE);
  const auto key_end = net::find_attribute(attributes, NFTA_SET_ELEM_KEY_END, NFTA_DATA_VALUE);
  const auto data = net::find_attribute(attributes, NFTA_SET_ELEM_DATA);
  const auto flags = net::find_attribute(attributes, NFTA_SET_ELEM_FLAGS);
  ReadElement out;
  if (flags && flags->size() == 4) {
    uint32_t bits;
    std::memcpy(&bits, flags->data(), sizeof bits);
    out.interval_end = (ntohl(bits) & NFT_SET_ELEM_INTERVAL_END) != 0;
  }
  const std::string_view bytes = key.value_or("");
  if (shape.interval) {
    out.key = bytes;
    return out;
  }
  const auto text_or_hex = [](const std::vector<Field>& fields, std::string_view first,
                              std::string_view last) {
    auto text = fields_text(fields, first, last);
    return text ? *std::move(text) : hex(first);
  };
  out.key = text_or_hex(shape.key, bytes, key_end.value_or(""));
  if (!data) return out;
  if (shape.verdict) {
    out.value = verdict_text(*data);
  } else {
    const auto value = net::find_attribute(*data, NFTA_DATA_VALUE);
    out.value = text_or_hex(shape.value, value.value_or(""), "");
  }
  return out;
}

std::vector<std::string> join_intervals(const SetShape& shape,
                                        std::vector<std::pair<std::string, bool>> ends) {
  // Of one address the end of an interval comes before the beginning of the next. nft also writes
  // an end at the first address of all, which ends nothing.
  std::sort(ends.begin(), ends.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second > b.second;
  });
  std::vector<std::string> out;
  const size_t size = size_of(shape.key.front());
  std::string first;
  const auto close = [&](const std::string& last) {
    const std::string from = ip_of(first).to_string(), to = ip_of(last).to_string();
    out.push_back(from == to ? from : cat(from, "-", to));
    first.clear();
  };
  for (const auto& [address, is_end] : ends) {
    if (address.size() != size) {
      out.push_back(hex(address));
    } else if (!is_end) {
      first = address;
    } else if (!first.empty()) {
      close(address_before(address));
    }
  }
  if (!first.empty()) close(std::string(size, '\xff'));  // to the last address: no end is kept
  return out;
}

}  // namespace fairlead::dataplane::nft
