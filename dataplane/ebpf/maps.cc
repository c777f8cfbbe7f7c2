#include "dataplane/ebpf/maps.h"

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/text.h"

namespace fairlead::dataplane::ebpf {

const MapShape& shape_of(MapId map) {
  static constexpr MapShape shapes[map_count] = {
      {"frontends", sizeof(fl_frontend_key), sizeof(fl_frontend), "--max-services"},
      {"backends", sizeof(fl_backend_key), sizeof(fl_backend), "--max-backends"},
      {"members", sizeof(fl_member_key), sizeof(uint32_t), "--max-backends"},
      {"addresses", sizeof(fl_ip), sizeof(uint32_t), "--max-services"},
      {"source_ranges", sizeof(fl_source_range), sizeof(uint32_t)},
      {"pod_cidrs", sizeof(fl_cidr), sizeof(uint32_t)},
      {"service_cidrs", sizeof(fl_cidr), sizeof(uint32_t)},
      {"config", sizeof(uint32_t), sizeof(fl_config)},
      {"conntrack", sizeof(fl_tuple), sizeof(fl_nat), "--max-conntrack"},
      {"connected", sizeof(uint64_t), sizeof(fl_connected)},
      {"maglev", sizeof(uint32_t), sizeof(fl_maglev), "--max-maglev"},
  };
  CHECK(static_cast<size_t>(map) < map_count);
  return shapes[static_cast<size_t>(map)];
}

std::string write_trouble(const Maps& maps, MapId map, int error) {
  const MapShape& shape = shape_of(map);
  if (error == E2BIG || error == ENOSPC) {
    return cat("the ", shape.name, " map is full (", maps.capacity(map), " entries",
               shape.option.empty() ? "" : ", ", shape.option, ")");
  }
  return cat("cannot write the ", shape.name, " map: ", std::strerror(error));
}

}  // namespace fairlead::dataplane::ebpf
