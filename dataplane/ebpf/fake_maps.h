// Maps in memory, with the kernel's limits, and a wrapper that makes chosen writes fail.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <vector>

#include "dataplane/ebpf/maps.h"

namespace fairlead::dataplane::ebpf {

class FakeMaps final : public Maps {
 public:
  FakeMaps();
  void set_capacity(MapId map, size_t entries);
  // Called after each single write: what a program could see between two writes.
  void on_write(std::function<void()> callback) { on_write_ = std::move(callback); }

  WriteOutcome update(MapId map, Bytes keys, Bytes values) override;
  WriteOutcome erase(MapId map, Bytes keys) override;
  int each(MapId map, const Visit& visit) const override;
  int get(MapId map, const std::byte* key, std::byte* value) const override;
  size_t capacity(MapId map) const override;
  size_t size(MapId map) const { return table(map).entries.size(); }

  template <class Value, class Key>
  const Value* find(MapId map, const Key& key) const {
    auto found = table(map).entries.find(to_vector(std::as_bytes(std::span(&key, 1))));
    if (found == table(map).entries.end()) return nullptr;
    return reinterpret_cast<const Value*>(found->second.data());
  }

 private:
  using Blob = std::vector<std::byte>;
  struct Table {
    std::map<Blob, Blob> entries;
    size_t capacity = 1 << 20;
  };
  static Blob to_vector(Bytes bytes) { return {bytes.begin(), bytes.end()}; }
  const Table& table(MapId map) const { return tables_[static_cast<size_t>(map)]; }
  Table& table(MapId map) { return tables_[static_cast<size_t>(map)]; }

  std::array<Table, map_count> tables_;
  std::function<void()> on_write_;
};

// Passes everything on, entry by entry, but fails write number `n` (from 0) for which the plan
// gives an errno. `base` outlives it.
class FaultyMaps final : public Maps {
 public:
  using Plan = std::function<int(size_t n, MapId map, bool erase)>;
  FaultyMaps(Maps& base, Plan plan) : base_(base), plan_(std::move(plan)) {}

  WriteOutcome update(MapId map, Bytes keys, Bytes values) override;
  WriteOutcome erase(MapId map, Bytes keys) override;
  int each(MapId map, const Visit& visit) const override { return base_.each(map, visit); }
  int get(MapId map, const std::byte* key, std::byte* value) const override {
    return base_.get(map, key, value);
  }
  size_t capacity(MapId map) const override { return base_.capacity(map); }
  size_t writes() const { return writes_; }

 private:
  Maps& base_;
  Plan plan_;
  size_t writes_ = 0;
};

}  // namespace fairlead::dataplane::ebpf
