// Addresses with the number of Services that need them, and which of them changed lately.
#pragma once

#include <set>
#include <unordered_map>

#include "base/ip.h"

namespace fairlead::dataplane::nft {

class CountedIps {
 public:
  void add(const Ip& ip) {
    touched_.insert(ip);
    ++counts_[ip];
  }
  // REQUIRES: add() was called more often for it.
  void remove(const Ip& ip) {
    touched_.insert(ip);
    const auto count = counts_.find(ip);
    if (--count->second == 0) counts_.erase(count);
  }

  bool contains(const Ip& ip) const { return counts_.contains(ip); }
  const std::unordered_map<Ip, uint32_t>& all() const { return counts_; }

  // Those whose presence may have changed since forget_touched().
  const std::set<Ip>& touched() const { return touched_; }
  void forget_touched() { touched_.clear(); }

 private:
  std::unordered_map<Ip, uint32_t> counts_;
  std::set<Ip> touched_;
};

}  // namespace fairlead::dataplane::nft
