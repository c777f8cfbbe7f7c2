#include "dataplane/ebpf/fake_maps.h"

#include <algorithm>
#include <cerrno>

namespace fairlead::dataplane::ebpf {

FakeMaps::FakeMaps() { table(MapId::config).capacity = 1; }

void FakeMaps::set_capacity(MapId map, size_t entries) { table(map).capacity = entries; }

size_t FakeMaps::capacity(MapId map) const { return table(map).capacity; }

WriteOutcome FakeMaps::update(MapId map, Bytes keys, Bytes values) {
  const MapShape& shape = shape_of(map);
  Table& target = table(map);
  size_t count = keys.size() / shape.key_size;
  for (size_t i = 0; i < count; ++i) {
    Blob key = to_vector(keys.subspan(i * shape.key_size, shape.key_size));
    // As htab_map_update_elem(): a full map takes no new key, but replaces a value.
    if (!target.entries.contains(key) && target.entries.size() >= target.capacity) {
      return {i, E2BIG};
    }
    target.entries[key] = to_vector(values.subspan(i * shape.value_size, shape.value_size));
    if (on_write_) on_write_();
  }
  return {count, 0};
}

WriteOutcome FakeMaps::erase(MapId map, Bytes keys) {
  const MapShape& shape = shape_of(map);
  size_t count = keys.size() / shape.key_size;
  for (size_t i = 0; i < count; ++i) {
    table(map).entries.erase(to_vector(keys.subspan(i * shape.key_size, shape.key_size)));
    if (on_write_) on_write_();
  }
  return {count, 0};
}

int FakeMaps::each(MapId map, const Visit& visit) const {
  for (const auto& [key, value] : table(map).entries) visit(key.data(), value.data());
  return 0;
}

int FakeMaps::get(MapId map, const std::byte* key, std::byte* value) const {
  const auto found = table(map).entries.find({key, key + shape_of(map).key_size});
  if (found == table(map).entries.end()) return ENOENT;
  std::copy(found->second.begin(), found->second.end(), value);
  return 0;
}

WriteOutcome FaultyMaps::update(MapId map, Bytes keys, Bytes values) {
  const MapShape& shape = shape_of(map);
  size_t count = keys.size() / shape.key_size;
  for (size_t i = 0; i < count; ++i) {
    if (int error = plan_(writes_++, map, false)) return {i, error};
    WriteOutcome one = base_.update(map, keys.subspan(i * shape.key_size, shape.key_size),
                                    values.subspan(i * shape.value_size, shape.value_size));
    if (one.error) return {i, one.error};
  }
  return {count, 0};
}

WriteOutcome FaultyMaps::erase(MapId map, Bytes keys) {
  const MapShape& shape = shape_of(map);
  size_t count = keys.size() / shape.key_size;
  for (size_t i = 0; i < count; ++i) {
    if (int error = plan_(writes_++, map, true)) return {i, error};
    WriteOutcome one = base_.erase(map, keys.subspan(i * shape.key_size, shape.key_size));
    if (one.error) return {i, one.error};
  }
  return {count, 0};
}

}  // namespace fairlead::dataplane::ebpf
