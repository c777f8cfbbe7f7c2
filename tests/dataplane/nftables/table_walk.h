// The first packet of a flow on its way through a table: the rules as the layout writes them, and
// the elements as they were read back. An interpreter of the statements that this mode uses.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/nftables/layout.h"
#include "dataplane/nftables/runner.h"
#include "tests/dataplane/flow_fates.h"

namespace fairlead::dataplane {

class TableWalk {
 public:
  TableWalk(const nft::Layout& layout, NftTable table);

  Fates walk(const WalkPacket& packet) const;

 private:
  struct State {
    WalkPacket packet;
    bool translated = false;
    uint32_t mark = 0;
    double probability = 1;
  };
  using Words = std::vector<std::string>;
  class Rule;

  // From the rule number `first` of the chain on.
  void run(const std::string& chain, size_t first, State state, Fates& out) const;
  static std::optional<bool> holds(Rule& rule, State& state);
  template <class Next>
  void choose(Rule& rule, const State& state, Next next, Fates& out) const;
  static void leave(const State& state, bool masquerade, Fates& out);
  bool has(const std::string& set, const std::vector<std::string>& key) const;
  std::string lookup(const std::string& map, const std::vector<std::string>& key) const;

  std::map<std::string, std::vector<Words>> chains_;
  NftTable table_;
};

}  // namespace fairlead::dataplane
