// The door to nf_tables: commands in nft's own language, one call one kernel transaction; and
// reading a table back. For every mode that keeps a table.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace fairlead::dataplane {

// Keys and values in the form that commands have: "10.96.0.1 . 6 . 80" -> "goto x" or
// "10.0.0.1 . 8080"; "" for sets. Intervals are "10.0.0.0-10.0.0.255", or "10.0.0.0/24" as a part
// of a longer key. What is of other types than ours are made of is "0x" and hexadecimal digits.
using NftSet = std::unordered_map<std::string, std::string>;

struct NftTable {
  // And maps; those that the kernel fills, and those without a name, are not read.
  std::map<std::string, NftSet> sets;
  std::map<std::string, size_t> chains;  // the number of rules in each
  friend bool operator==(const NftTable&, const NftTable&) = default;
};

class NftRunner {
 public:
  virtual ~NftRunner() = default;

  // All of `commands` (nft(8) syntax, one per line) or nothing.
  virtual Result<void> run(const std::string& commands) = 0;

  // The table of family inet as it is at one moment; nothing when there is no such table.
  virtual Result<std::optional<NftTable>> read_table(const std::string& name) = 0;

  // One set or map, also one that the kernel fills. Empty when there is none.
  virtual Result<NftSet> read_set(const std::string& table, const std::string& set) = 0;

  // Every other table: "ip kube-proxy", "inet firewalld", sorted.
  virtual Result<std::vector<std::string>> other_tables(const std::string& name) = 0;
};

// libnftables writes, nfnetlink reads. Opens its netlink sockets at the first call, in the
// namespace of that moment, and stays there. Used by one thread at a time.
std::unique_ptr<NftRunner> make_nft_runner();

}  // namespace fairlead::dataplane
