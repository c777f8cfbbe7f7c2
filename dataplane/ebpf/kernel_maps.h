// Maps in the kernel. The batch calls of bpf(2) where they work, else one call for each entry.
#pragma once

#include <array>

#include "dataplane/ebpf/maps.h"

namespace fairlead::dataplane::ebpf {

// Does not own the descriptors; they outlive it.
class KernelMaps final : public Maps {
 public:
  using Fds = std::array<int, map_count>;  // by MapId
  explicit KernelMaps(const Fds& fds);

  WriteOutcome update(MapId map, Bytes keys, Bytes values) override;
  WriteOutcome erase(MapId map, Bytes keys) override;
  int each(MapId map, const Visit& visit) const override;
  int get(MapId map, const std::byte* key, std::byte* value) const override;
  size_t capacity(MapId map) const override { return capacities_[static_cast<size_t>(map)]; }

 private:
  int fd(MapId map) const { return fds_[static_cast<size_t>(map)]; }

  Fds fds_;
  std::array<size_t, map_count> capacities_{};
};

// Every entry of any map but a per-CPU one. Returns an errno.
int each_in_map(int fd, size_t key_size, size_t value_size, const Maps::Visit& visit);

}  // namespace fairlead::dataplane::ebpf
