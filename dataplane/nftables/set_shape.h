// What the elements of sets and maps consist of, and their form in netlink.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fairlead::dataplane::nft {

enum class Field : uint8_t { ip4, ip6, protocol, port, number };

struct SetShape {
  std::vector<Field> key;
  std::vector<Field> value = {};  // empty: no data, or a verdict
  bool verdict = false;
  bool interval = false;  // one address alone: the kernel keeps both ends as elements of their own
  friend bool operator==(const SetShape&, const SetShape&) = default;
};

// From the types that libnftables notes in a set (NFTA_SET_KEY_TYPE, NFTA_SET_DATA_TYPE: six bits a
// field, the last one lowest) and NFTA_SET_FLAGS. Nothing: a set with types that none of ours has.
std::optional<SetShape> shape_of(uint32_t key_type, uint32_t data_type, uint32_t flags);

// "10.96.0.1 . 6 . 80" from a register's bytes, each field padded to 4 (NFT_REG32_SIZE). `last` is
// the other end of an interval, or empty. Nothing when the bytes do not fit.
std::optional<std::string> fields_text(const std::vector<Field>& fields, std::string_view first,
                                       std::string_view last = {});

// The attributes of one element (NFTA_SET_ELEM_*, linux/netfilter/nf_tables.h) as key and value.
struct ReadElement {
  std::string key, value;
  bool interval_end = false;  // the first address after an interval; `key` is its bytes
};
ReadElement read_element(const SetShape& shape, std::string_view attributes);

// The two ends that the kernel keeps as the intervals that were written: "10.0.0.0-10.0.0.255".
std::vector<std::string> join_intervals(const SetShape& shape,
                                        std::vector<std::pair<std::string, bool>> ends);

}  // namespace fairlead::dataplane::nft
