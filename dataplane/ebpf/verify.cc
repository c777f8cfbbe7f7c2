#include "dataplane/ebpf/verify.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <string>

#include "base/text.h"
#include "dataplane/ebpf/map_codec.h"

namespace fairlead::dataplane::ebpf {
namespace {

constexpr const char* likely_owner = "another user of bpf(2)";

using Entries = std::map<std::string, std::string>;  // bytes of key -> bytes of value

template <class T>
T as(const std::string& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::string describe(MapId map, const std::string& key) {
  switch (map) {
    case MapId::frontends:
      return cat("frontend ", to_text(as<fl_frontend_key>(key)));
    case MapId::backends: {
      const auto slot = as<fl_backend_key>(key);
      return cat("backend slot ", slot.slot, " of list ", slot.list);
    }
    case MapId::members: {
      const auto member = as<fl_member_key>(key);
      return cat("member ", to_text(member), " of service ", member.service);
    }
    case MapId::addresses:
      return cat("address ", from_map(as<fl_ip>(key)).to_string());
    case MapId::source_ranges: {
      const auto range = as<fl_source_range>(key);
      return cat("source range ", to_text(range), " of service ", range.service);
    }
    case MapId::maglev:
      return cat("table of list ", as<uint32_t>(key));
    case MapId::pod_cidrs:
      return cat("pod CIDR ", to_text(as<fl_cidr>(key)));
    case MapId::service_cidrs:
      return cat("service CIDR ", to_text(as<fl_cidr>(key)));
    default:
      return cat("the node's ", shape_of(map).name);
  }
}

// Every entry of one map: as it should be, or as the kernel has it. Returns an errno.
using Source = std::function<int(const Maps::Visit&)>;

// Whole maps of a large cluster are too much to keep beside what is written down of them already:
// of each entry there is a hash here, and the entries themselves only where the hashes differ, in
// rounds of about so many.
constexpr size_t entries_of_round = 4096;

uint64_t hash_of(const std::byte* bytes, size_t size) {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes), size});
}

class Digests {
 public:
  explicit Digests(MapId map) : shape_(shape_of(map)) {}

  int read(const Source& source) {
    const int error = source(
        [&](const std::byte* key, const std::byte* value) { entries_.push_back(of(key, value)); });
    std::sort(entries_.begin(), entries_.end());
    return error;
  }
  uint64_t of(const std::byte* key, const std::byte* value) const {
    return hash_of(key, shape_.key_size) * 31 + hash_of(value, shape_.value_size);
  }
  // Those that only one of both has.
  static std::vector<uint64_t> difference(const Digests& a, const Digests& b) {
    std::vector<uint64_t> out;
    std::set_symmetric_difference(a.entries_.begin(), a.entries_.end(), b.entries_.begin(),
                                  b.entries_.end(), std::back_inserter(out));
    return out;
  }

 private:
  const MapShape& shape_;
  std::vector<uint64_t> entries_;
};

Bytes bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

class Comparison {
 public:
  Comparison(Maps& maps, MapId map, bool repair) : maps_(maps), map_(map), repair_(repair) {}

  void run(const Entries& wanted, const Entries& held) {
    for (const auto& [key, value] : wanted) {
      const auto found = held.find(key);
      if (found != held.end() && found->second == value) continue;
      const bool repaired = repair_ && maps_.update(map_, bytes(key), bytes(value)).error == 0;
      note(key, found == held.end() ? " is missing" : " has another value", repaired);
    }
    for (const auto& [key, value] : held) {
      if (wanted.contains(key)) continue;
      // An array's entry cannot go away; an empty one says nothing.
      if (map_ == MapId::config) continue;
      const bool repaired = repair_ && maps_.erase(map_, bytes(key)).error == 0;
      note(key, " is not ours", repaired);
    }
  }

  void finish(std::vector<Drift>& out) {
    const bool repaired = left_out_ == repaired_;
    if (left_out_ != 0) {
      drifts_.push_back({cat(left_out_, " more entries of the map ", shape_of(map_).name),
                         likely_owner, repair_ && repaired});
    }
    out.insert(out.end(), drifts_.begin(), drifts_.end());
  }

 private:
  void note(const std::string& key, const char* what, bool repaired) {
    if (drifts_.size() < max_drifts_of_map) {
      drifts_.push_back({describe(map_, key) + what, likely_owner, repaired});
      return;
    }
    ++left_out_;
    repaired_ += repaired;
  }

  Maps& maps_;
  MapId map_;
  bool repair_;
  std::vector<Drift> drifts_;
  size_t left_out_ = 0, repaired_ = 0;
};

// Entries whose digest is among `differing`, and whose key belongs to this round.
int read_round(MapId map, const Source& source, const std::vector<uint64_t>& differing,
               size_t round, size_t rounds, Entries& out) {
  const MapShape& shape = shape_of(map);
  const Digests digests(map);
  return source([&](const std::byte* key, const std::byte* value) {
    if (hash_of(key, shape.key_size) % rounds != round) return;
    if (!std::binary_search(differing.begin(), differing.end(), digests.of(key, value))) return;
    out[std::string(reinterpret_cast<const char*>(key), shape.key_size)] =
        std::string(reinterpret_cast<const char*>(value), shape.value_size);
  });
}

// Returns an errno.
int compare(Maps& maps, MapId map, const Source& wanted, bool repair, std::vector<Drift>& drifts) {
  const Source held = [&](const Maps::Visit& visit) { return maps.each(map, visit); };
  std::vector<uint64_t> differing;
  {
    Digests wanted_digests(map), held_digests(map);
    wanted_digests.read(wanted);
    if (const int error = held_digests.read(held); error != 0) return error;
    differing = Digests::difference(wanted_digests, held_digests);
  }
  if (differing.empty()) return 0;
  Comparison comparison(maps, map, repair);
  const size_t rounds = 1 + differing.size() / entries_of_round;
  for (size_t round = 0; round < rounds; ++round) {
    Entries wanted_entries, held_entries;
    read_round(map, wanted, differing, round, rounds, wanted_entries);
    const int error = read_round(map, held, differing, round, rounds, held_entries);
    if (error != 0) return error;
    comparison.run(wanted_entries, held_entries);
  }
  comparison.finish(drifts);
  return 0;
}

}  // namespace

Result<std::vector<Drift>> verify_maps(Maps& maps, const ServiceSync& services,
                                       const NodeSync& node, bool repair) {
  constexpr MapId order[] = {MapId::members, MapId::source_ranges, MapId::backends,
                             MapId::maglev,  MapId::pod_cidrs,     MapId::service_cidrs,
                             MapId::config,  MapId::addresses,     MapId::frontends};
  std::vector<Drift> drifts;
  for (const MapId map : order) {
    const Source wanted = [&](const Maps::Visit& visit) {
      if (map == MapId::addresses) {
        services.addresses().each(visit);
      } else if (map == MapId::config || map == MapId::pod_cidrs || map == MapId::service_cidrs) {
        node.each(map, visit);
      } else {
        services.each(map, visit);
      }
      return 0;
    };
    if (const int error = compare(maps, map, wanted, repair, drifts); error != 0) {
      return fail(cat("cannot read the ", shape_of(map).name, " map: ", std::strerror(error)));
    }
  }
  return drifts;
}

}  // namespace fairlead::dataplane::ebpf
