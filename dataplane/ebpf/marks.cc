#include "dataplane/ebpf/marks.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

namespace fairlead::dataplane::ebpf {
namespace {

// The ranges that Kubernetes takes for services (IPv4 /12, IPv6 /108) have as many blocks of 256.
constexpr uint32_t most_blocks = 4096;
constexpr uint32_t block_prefix = 120;
constexpr uint32_t widest_prefix = 108;

template <class T>
T read_as(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

uint8_t after(uint32_t generation) {
  return static_cast<uint8_t>(generation >= 255 ? 1 : generation + 1);
}

// Maps that say which packets can matter.
bool matters(MapId map) {
  constexpr std::array maps = {MapId::frontends, MapId::addresses, MapId::service_cidrs,
                               MapId::config, MapId::conntrack};
  return std::find(maps.begin(), maps.end(), map) != maps.end();
}

}  // namespace

void Marks::set(uint32_t slot) {
  std::atomic_ref<uint32_t> generation(memory_.generation);
  const auto now = static_cast<uint8_t>(std::max(generation.load(), 1u));
  std::atomic_ref<uint8_t>(memory_.slots[slot]).store(now);
}

void Marks::set_address(const fl_ip& ip) {
  set(fl_address_slot(&ip));
  set(fl_block_slot(&ip));
}

void Marks::set_everything(bool on) { std::atomic_ref<uint32_t>(memory_.everything).store(on); }

void Marks::add_range(const fl_cidr& cidr) {
  if (cidr.prefixlen < widest_prefix) {
    too_wide_ = true;
    set_everything(true);
    return;
  }
  const uint32_t blocks =
      cidr.prefixlen >= block_prefix ? 1 : 1u << (block_prefix - cidr.prefixlen);
  static_assert(most_blocks == 1u << (block_prefix - widest_prefix));
  fl_ip ip = cidr.ip;
  const uint32_t first = __builtin_bswap32(ip.word[3]);  // network order
  for (uint32_t i = 0; i < blocks; ++i) {
    ip.word[3] = __builtin_bswap32(first + (i << 8));
    set(fl_block_slot(&ip));
    set(fl_range_slot(&ip));
  }
}

void Marks::add(MapId map, const std::byte* key, const std::byte* value) {
  if (map == MapId::frontends) {
    const auto frontend = read_as<fl_frontend_key>(key);
    set_address(frontend.ip);
  } else if (map == MapId::addresses) {
    set_address(read_as<fl_ip>(key));
  } else if (map == MapId::service_cidrs) {
    add_range(read_as<fl_cidr>(key));
  } else if (map == MapId::config) {
    const auto config = read_as<fl_config>(value);
    for (const fl_ip& ip : config.node_address) set_address(ip);
  } else if (map == MapId::conntrack) {
    const auto tuple = read_as<fl_tuple>(key);
    if (tuple.hook == FL_INGRESS) {
      set_address(tuple.dst);
    } else {
      set(fl_pair_slot(&tuple.src, &tuple.dst));
    }
  }
}

int Marks::refresh(const Maps& maps) {
  std::atomic_ref<uint32_t> generation(memory_.generation);
  const auto last = static_cast<uint8_t>(generation.load());
  const uint8_t now = after(last);
  generation.store(now);
  too_wide_ = false;
  for (size_t i = 0; i < map_count; ++i) {
    const auto map = static_cast<MapId>(i);
    if (!matters(map)) continue;
    const int error =
        maps.each(map, [&](const std::byte* key, const std::byte* value) { add(map, key, value); });
    if (error != 0) {
      suspend();
      return error;
    }
  }
  forget_older(now, last);
  set_everything(too_wide_);
  return 0;
}

// A program may mark a slot again at any moment: then it holds the generation of now, and stays.
void Marks::forget_older(uint8_t than, uint8_t and_than) {
  for (uint8_t& slot : memory_.slots) {
    std::atomic_ref<uint8_t> mark(slot);
    uint8_t held = mark.load(std::memory_order_relaxed);
    if (held != 0 && held != than && held != and_than) mark.compare_exchange_strong(held, 0);
  }
}

size_t Marks::used() const {
  return FL_MARK_SLOTS - static_cast<size_t>(std::count(std::begin(memory_.slots),
                                                        std::end(memory_.slots), uint8_t{0}));
}

WriteOutcome MarkingMaps::update(MapId map, Bytes keys, Bytes values) {
  const MapShape& shape = shape_of(map);
  if (!matters(map)) return base_.update(map, keys, values);
  for (size_t i = 0; (i + 1) * shape.key_size <= keys.size(); ++i) {
    marks_.add(map, keys.data() + i * shape.key_size, values.data() + i * shape.value_size);
  }
  return base_.update(map, keys, values);
}

}  // namespace fairlead::dataplane::ebpf
