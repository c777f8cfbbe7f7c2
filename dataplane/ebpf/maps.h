// The door to the BPF maps: bytes in, bytes out, so that the same code drives the kernel, a fake
// and a fake that fails. Keys and values are the structs of bpf/shared/maps.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bpf/shared/maglev.h"
#include "bpf/shared/maps.h"

namespace fairlead::dataplane::ebpf {

enum class MapId : uint8_t {
  frontends,
  backends,
  members,
  addresses,
  source_ranges,
  pod_cidrs,
  service_cidrs,
  config,
  conntrack,
  connected,
  maglev,
};
inline constexpr size_t map_count = 11;

struct MapShape {
  std::string_view name;  // in the BPF object and below the pins
  size_t key_size;
  size_t value_size;
  std::string_view option = {};  // of the agent, that sets how many entries it has; "": none
};
const MapShape& shape_of(MapId map);

using Bytes = std::span<const std::byte>;

// Entries are written in order. The first failure ends the call.
struct WriteOutcome {
  size_t done = 0;
  int error = 0;  // errno of entry number `done`; 0: all are done
};

// Used from one thread.
class Maps {
 public:
  using Visit = std::function<void(const std::byte* key, const std::byte* value)>;

  virtual ~Maps() = default;
  // Keys and values laid end to end. Replaces what is there.
  virtual WriteOutcome update(MapId map, Bytes keys, Bytes values) = 0;
  // A key that is not there counts as done.
  virtual WriteOutcome erase(MapId map, Bytes keys) = 0;
  // Every entry, in no order. Returns an errno. A map that changes meanwhile may show an entry
  // twice or not at all.
  virtual int each(MapId map, const Visit& visit) const = 0;
  // One entry. Returns an errno; ENOENT: there is none.
  virtual int get(MapId map, const std::byte* key, std::byte* value) const = 0;
  virtual size_t capacity(MapId map) const = 0;  // entries
};

// Why a write failed: "the backends map is full (262144 entries, --max-backends)".
std::string write_trouble(const Maps& maps, MapId map, int error);

template <class T>
Bytes bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

template <class Key, class Value, class Callback>
int each_entry(const Maps& maps, MapId map, Callback callback) {
  return maps.each(map, [&](const std::byte* key, const std::byte* value) {
    Key typed_key;
    Value typed_value;
    std::copy_n(key, sizeof typed_key, reinterpret_cast<std::byte*>(&typed_key));
    std::copy_n(value, sizeof typed_value, reinterpret_cast<std::byte*>(&typed_value));
    callback(typed_key, typed_value);
  });
}

}  // namespace fairlead::dataplane::ebpf
