#include "dataplane/ebpf/maps.h"

#include "base/check.h"

namespace fairlead::dataplane::ebpf {

const MapShape& shape_of(MapId map) {
  static constexpr MapShape shapes[map_count] = {
      {"frontends", sizeof(fl_frontend_key), sizeof(fl_frontend)},
      {"backends", sizeof(fl_backend_key), sizeof(fl_backend)},
      {"node_ips", sizeof(fl_ip), sizeof(uint32_t)},
      {"pod_cidrs", sizeof(fl_cidr), sizeof(uint32_t)},
      {"config", sizeof(uint32_t), sizeof(fl_config)},
      {"conntrack", sizeof(fl_tuple), sizeof(fl_nat)},
  };
  CHECK(static_cast<size_t>(map) < map_count);
  return shapes[static_cast<size_t>(map)];
}

}  // namespace fairlead::dataplane::ebpf
