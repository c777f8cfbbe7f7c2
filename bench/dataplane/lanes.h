// Labs side by side, one for each contender, so that each can have its turn.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <deque>

#include "base/text.h"
#include "bench/dataplane/connection_lab.h"
#include "bench/dataplane/contender.h"

namespace fairlead::bench {

class Lane {
 public:
  Lane(const std::string& contender, int number)
      : contender_(contender), lab_(cat("l", number), contender_.client_cgroup()) {}
  ~Lane() {
    lab_.in_node([&] { contender_.stop(); });
  }
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  const std::string& name() const { return contender_.name(); }
  ConnectionLab& lab() { return lab_; }
  void serve(const dataplane::ServiceTable& table) {
    lab_.in_node([&] { contender_.serve(table); });
  }

 private:
  Contender contender_;
  ConnectionLab lab_;  // goes first: its client is in the contender's cgroup
};

using Lanes = std::deque<Lane>;

// Those contenders that this machine has. All children are forked before a driver opens anything.
inline Lanes make_lanes(const std::vector<std::string>& contenders,
                        const dataplane::ServiceTable& table) {
  Lanes lanes;
  for (const std::string& name : contenders_here(contenders)) {
    lanes.emplace_back(name, static_cast<int>(lanes.size()));
  }
  for (Lane& lane : lanes) lane.serve(table);
  return lanes;
}

}  // namespace fairlead::bench
