// The door to nf_tables: commands in nft's own language, one call one kernel transaction.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"

namespace fairlead::dataplane {

class NftRunner {
 public:
  virtual ~NftRunner() = default;

  // All of `commands` (nft(8) syntax, one per line) or nothing.
  virtual Result<void> run(const std::string& commands) = 0;

  // The table of family inet as libnftables-json(5) text, elements included; nothing when there is
  // no such table.
  virtual Result<std::optional<std::string>> list_table(const std::string& name) = 0;
};

// libnftables. Opens its netlink socket at the first call, in the namespace of that moment, and
// stays there. Used by one thread at a time.
std::unique_ptr<NftRunner> make_nft_runner();

}  // namespace fairlead::dataplane
