// MaglevSync: the maglev map, which has a table for each list whose flows choose by their hash.
#pragma once

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "bpf/shared/maglev.h"
#include "dataplane/ebpf/maps.h"
#include "dataplane/maglev.h"

namespace fairlead::dataplane::ebpf {

static_assert(FL_MAGLEV_SIZE == ebpf_maglev_places);

// A list of this many backends has a table.
inline bool has_table(size_t backends) { return backends != 0 && backends <= FL_MAGLEV_SIZE; }

// Belongs to one thread. `maps` outlives it. Writes count in `writes`; they return an errno.
class MaglevSync {
 public:
  explicit MaglevSync(Maps& maps) : maps_(maps) {}

  Result<void> load();
  // Makes the list's table that of `slots`, which are the list's from 0 on, in one update.
  // REQUIRES: has_table(slots.size()), and every slot holds a backend.
  int write(uint32_t list, std::span<const fl_backend> slots, size_t& writes);
  int erase(uint32_t list, size_t& writes);

  size_t size() const { return held_.size(); }
  std::vector<uint32_t> lists() const;
  // What the map holds, as far as we wrote or read it.
  void each(const Maps::Visit& visit) const;

 private:
  Maps& maps_;
  std::unordered_map<uint32_t, std::unique_ptr<fl_maglev>> held_;
};

}  // namespace fairlead::dataplane::ebpf
