#include "dataplane/ebpf/map_dump.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/text.h"
#include "dataplane/ebpf/map_codec.h"

namespace fairlead::dataplane::ebpf {
namespace {

using Slots = std::map<std::pair<uint32_t, uint32_t>, fl_backend>;  // (service, slot)

void node_lines(const Maps& maps, std::string& out) {
  std::vector<std::string> lines;
  each_entry<fl_ip, uint32_t>(maps, MapId::node_ips, [&](const fl_ip& ip, uint32_t) {
    lines.push_back(cat("node-ip ", from_map(ip).to_string(), "\n"));
  });
  each_entry<fl_cidr, uint32_t>(maps, MapId::pod_cidrs, [&](const fl_cidr& cidr, uint32_t) {
    lines.push_back(cat("pod-cidr ", to_text(cidr), "\n"));
  });
  each_entry<uint32_t, fl_config>(maps, MapId::config, [&](uint32_t, const fl_config& config) {
    for (const fl_ip& address : config.node_address) {
      if (same_bytes(address, fl_ip{})) continue;
      lines.push_back(cat("masquerade-as ", from_map(address).to_string(), "\n"));
    }
  });
  std::sort(lines.begin(), lines.end());
  for (const std::string& line : lines) out += line;
}

std::string frontend_block(const fl_frontend_key& key, const fl_frontend& value,
                           const ServiceName& name, const Slots& slots) {
  std::string service = name(value.service);
  std::string out = cat("frontend ", to_text(key), " ", service.empty() ? "?" : service);
  if (value.count == 0) out += value.flags & FL_FRONTEND_DROP ? " drop" : " reject";
  out += "\n";
  std::vector<std::string> lines;
  for (uint32_t slot = 0; slot < value.count; ++slot) {
    auto found = slots.find({value.service, slot});
    lines.push_back(found == slots.end() ? cat("  missing slot ", slot, "\n")
                                         : cat("  backend ", to_text(found->second), "\n"));
  }
  std::sort(lines.begin(), lines.end());
  for (const std::string& line : lines) out += line;
  return out;
}

}  // namespace

std::string dump_maps(const Maps& maps, const ServiceName& name) {
  std::string out = "mode ebpf\n";
  node_lines(maps, out);
  Slots slots;
  int error = each_entry<fl_backend_key, fl_backend>(
      maps, MapId::backends, [&](const fl_backend_key& key, const fl_backend& value) {
        slots[{key.service, key.slot}] = value;
      });
  if (error != 0) return cat(out, "error reading backends: ", std::strerror(error), "\n");
  std::vector<std::string> blocks;
  std::map<uint32_t, uint32_t> reachable;
  error = each_entry<fl_frontend_key, fl_frontend>(
      maps, MapId::frontends, [&](const fl_frontend_key& key, const fl_frontend& value) {
        blocks.push_back(frontend_block(key, value, name, slots));
        reachable[value.service] = std::max(reachable[value.service], value.count);
      });
  if (error != 0) return cat(out, "error reading frontends: ", std::strerror(error), "\n");
  std::sort(blocks.begin(), blocks.end());
  for (const std::string& block : blocks) out += block;
  size_t unreachable = 0;
  for (const auto& [where, backend] : slots) unreachable += where.second >= reachable[where.first];
  if (unreachable != 0) out += cat("unreachable slots ", unreachable, "\n");
  return out;
}

}  // namespace fairlead::dataplane::ebpf
