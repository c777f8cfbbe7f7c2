#include "dataplane/ebpf/verify.h"

#include <cstring>
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

Maps::Visit into(MapId map, Entries& entries) {
  const MapShape shape = shape_of(map);
  return [shape, &entries](const std::byte* key, const std::byte* value) {
    entries[std::string(reinterpret_cast<const char*>(key), shape.key_size)] =
        std::string(reinterpret_cast<const char*>(value), shape.value_size);
  };
}

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

}  // namespace

Result<std::vector<Drift>> verify_maps(Maps& maps, const ServiceSync& services,
                                       const NodeSync& node, bool repair) {
  constexpr MapId order[] = {MapId::members, MapId::source_ranges, MapId::backends,
                             MapId::maglev,  MapId::pod_cidrs,     MapId::service_cidrs,
                             MapId::config,  MapId::addresses,     MapId::frontends};
  std::vector<Drift> drifts;
  for (const MapId map : order) {
    Entries wanted, held;
    if (map == MapId::addresses) {
      services.addresses().each(into(map, wanted));
    } else if (map == MapId::config || map == MapId::pod_cidrs || map == MapId::service_cidrs) {
      node.each(map, into(map, wanted));
    } else {
      services.each(map, into(map, wanted));
    }
    const int error = maps.each(map, into(map, held));
    if (error != 0) {
      return fail(cat("cannot read the ", shape_of(map).name, " map: ", std::strerror(error)));
    }
    Comparison comparison(maps, map, repair);
    comparison.run(wanted, held);
    comparison.finish(drifts);
  }
  return drifts;
}

}  // namespace fairlead::dataplane::ebpf
