// What the elements of our sets and maps consist of, and their form in netlink.
#pragma once

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
  bool interval = false;  // one field alone: the kernel keeps both ends as elements of their own
};

// By the name that layout.h gives it; nothing for a set of somebody else.
std::optional<SetShape> shape_of(std::string_view set);

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
