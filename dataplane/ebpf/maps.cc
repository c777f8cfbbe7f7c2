#include "dataplane/ebpf/maps.h"

#include "base/check.h"

namespace fairlead::dataplane::ebpf {

const MapShape& shape_of(MapId map) {
  static constexpr MapShape shapes[map_count] = {
      {"frontends", sizeof(fl_frontend_key), sizeof(fl_frontend)},
      {"backends", sizeof(fl_backend_key), sizeof(fl_backend)},
      {"members", sizeof(fl_member_key), sizeof(uint32_t)},
      {"addresses", sizeof(fl_ip), sizeof(uint32_t)},
      {"source_ranges", sizeof(fl_source_range), sizeof(uint32_t)},
      {"pod_cidrs", sizeof(fl_cidr), sizeof(uint32_t)},
      {"service_cidrs", sizeof(fl_cidr), sizeof(uint32_t)},
      {"config", sizeof(uint32_t), sizeof(fl_config)},
      {"conntrack", sizeof(fl_tuple), sizeof(fl_nat)},
      {"connected", sizeof(uint64_t), sizeof(fl_connected)},
  };
  CHECK(static_cast<size_t>(map) < map_count);
  return shapes[static_cast<size_t>(map)];
}

}  // namespace fairlead::dataplane::ebpf
