#include "dataplane/ebpf/map_dump.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/text.h"
#include "dataplane/ebpf/map_codec.h"

namespace fairlead::dataplane::ebpf {
namespace {

using Slots = std::map<std::pair<uint32_t, uint32_t>, fl_backend>;  // (list, slot)

struct Held {
  Slots slots;
  std::map<uint32_t, std::set<std::string>> ranges;             // by service
  std::map<uint32_t, std::map<std::string, uint32_t>> members;  // service -> backend -> sets
  std::map<uint32_t, std::map<uint32_t, uint32_t>> places;      // by list: slot -> how many
};

void count_places(const fl_maglev& table, std::map<uint32_t, uint32_t>& places) {
  for (const uint16_t slot : table.slot) ++places[slot];
}

std::string address_line(const Ip& ip, uint32_t flags) {
  std::string line = cat("address ", ip.to_string());
  if ((flags & FL_ADDRESS_NODE) != 0) line += " node";
  if ((flags & FL_ADDRESS_NODE_PORTS) != 0) line += " node-ports";
  if ((flags & FL_ADDRESS_CLUSTER_IP) != 0) line += " cluster-ip";
  return line + "\n";
}

void config_lines(const fl_config& config, std::vector<std::string>& lines) {
  for (const fl_ip& address : config.node_address) {
    if (same_bytes(address, fl_ip{})) continue;
    lines.push_back(cat("masquerade-as ", from_map(address).to_string(), "\n"));
  }
  for (uint64_t i = 0; i < std::min<uint64_t>(config.node_network_count, FL_MAX_NODE_NETWORKS);
       ++i) {
    lines.push_back(cat("nodes-in ", to_text(config.node_networks[i]), "\n"));
  }
  if ((config.flags & FL_CONFIG_MASQUERADE_ALL) != 0) lines.push_back("masquerade-all\n");
  if ((config.flags & FL_CONFIG_LOCALHOST) != 0) lines.push_back("localhost-node-ports\n");
}

void node_lines(const Maps& maps, std::string& out) {
  std::vector<std::string> lines;
  each_entry<fl_ip, uint32_t>(maps, MapId::addresses, [&](const fl_ip& ip, uint32_t flags) {
    lines.push_back(address_line(from_map(ip), flags));
  });
  each_entry<fl_cidr, uint32_t>(maps, MapId::pod_cidrs, [&](const fl_cidr& cidr, uint32_t) {
    lines.push_back(cat("pod-cidr ", to_text(cidr), "\n"));
  });
  each_entry<fl_cidr, uint32_t>(maps, MapId::service_cidrs, [&](const fl_cidr& cidr, uint32_t) {
    lines.push_back(cat("service-cidr ", to_text(cidr), "\n"));
  });
  each_entry<uint32_t, fl_config>(
      maps, MapId::config, [&](uint32_t, const fl_config& config) { config_lines(config, lines); });
  std::sort(lines.begin(), lines.end());
  for (const std::string& line : lines) out += line;
}

// The set of a frontend that `value` makes visible.
void list_lines(const Held& held, const fl_frontend& value, uint32_t set,
                std::vector<std::string>& lines) {
  const bool local = set == FL_IN_LOCAL;
  const uint32_t service = value.service, list = local ? value.local_list : service;
  const uint32_t count = local ? value.local_count : value.count;
  const char* word = local ? "  for-local " : "  backend ";
  const auto table = held.places.find(list);
  const bool hashed = (value.flags & FL_FRONTEND_MAGLEV) != 0 && table != held.places.end();
  for (uint32_t slot = 0; slot < count; ++slot) {
    auto found = held.slots.find({list, slot});
    if (found == held.slots.end()) {
      lines.push_back(cat("  missing slot ", slot, "\n"));
      continue;
    }
    std::string line = cat(word, to_text(found->second));
    const auto& members = held.members.find(service);
    const fl_backend& backend = found->second;
    const std::string key = SocketAddress{from_map(backend.ip), to_host(backend.port)}.to_string();
    const bool known = members != held.members.end() && members->second.contains(key) &&
                       (members->second.at(key) & set) != 0;
    if (!known) line += " (no member)";
    if (hashed) {
      const auto places = table->second.find(slot);
      append(line, cat(" places ", places == table->second.end() ? 0 : places->second));
    }
    lines.push_back(line + "\n");
  }
}

std::string frontend_block(const fl_frontend_key& key, const fl_frontend& value,
                           const ServiceName& name, const Held& held) {
  std::string service = name(value.service);
  std::string out = cat("frontend ", to_text(key), " ", service.empty() ? "?" : service);
  const bool local = (value.flags & FL_FRONTEND_LOCAL_ONLY) != 0;
  if (local) out += " local-only";
  if ((value.flags & FL_FRONTEND_MAGLEV) != 0) out += " maglev";
  if ((value.flags & FL_FRONTEND_DSR) != 0) out += " dsr";
  if (value.affinity_s != 0) out += cat(" affinity ", value.affinity_s, "s");
  if (value.count == 0 || (local && value.local_count == 0)) {
    out += value.flags & FL_FRONTEND_DROP ? " drop" : " reject";
  }
  out += "\n";
  std::vector<std::string> lines;
  list_lines(held, value, FL_IN_CLUSTER, lines);
  list_lines(held, value, FL_IN_LOCAL, lines);
  if ((value.flags & FL_FRONTEND_RANGES) != 0) {
    auto ranges = held.ranges.find(value.service);
    if (ranges == held.ranges.end())
      lines.push_back("  no source-range\n");
    else
      for (const std::string& range : ranges->second) {
        lines.push_back(cat("  source-range ", range, "\n"));
      }
    if ((value.flags & FL_FRONTEND_NODE_RANGE) != 0)
      lines.push_back("  source-range of the node\n");
  }
  std::sort(lines.begin(), lines.end());
  for (const std::string& line : lines) out += line;
  return out;
}

int read_held(const Maps& maps, Held& held) {
  int error = each_entry<fl_backend_key, fl_backend>(
      maps, MapId::backends, [&](const fl_backend_key& key, const fl_backend& value) {
        held.slots[{key.list, key.slot}] = value;
      });
  if (error != 0) return error;
  error = each_entry<fl_member_key, uint32_t>(maps, MapId::members,
                                              [&](const fl_member_key& key, uint32_t sets) {
                                                held.members[key.service][to_text(key)] = sets;
                                              });
  if (error != 0) return error;
  error = each_entry<uint32_t, fl_maglev>(
      maps, MapId::maglev,
      [&](uint32_t list, const fl_maglev& table) { count_places(table, held.places[list]); });
  if (error != 0) return error;
  return each_entry<fl_source_range, uint32_t>(
      maps, MapId::source_ranges,
      [&](const fl_source_range& key, uint32_t) { held.ranges[key.service].insert(to_text(key)); });
}

// Where frontends lead to.
struct Reached {
  std::map<uint32_t, uint32_t> slots;  // by list: how many
  std::set<uint32_t> hashed;           // lists that are chosen from by hash
  std::set<uint32_t> services;

  void add(const fl_frontend& frontend) {
    services.insert(frontend.service);
    add_list(frontend.service, frontend.count, frontend.flags);
    add_list(frontend.local_list, frontend.local_count, frontend.flags);
  }
  void add_list(uint32_t list, uint32_t count, uint32_t flags) {
    slots[list] = std::max(slots[list], count);
    if (count != 0 && (flags & FL_FRONTEND_MAGLEV) != 0) hashed.insert(list);
  }
};

// Entries that no frontend leads to.
std::string stray_lines(const Held& held, const Reached& reached) {
  size_t slots = 0, members = 0, ranges = 0, tables = 0;
  for (const auto& [where, backend] : held.slots) {
    auto list = reached.slots.find(where.first);
    slots += list == reached.slots.end() || where.second >= list->second;
  }
  for (const auto& [service, set] : held.members)
    members += reached.services.contains(service) ? 0 : set.size();
  for (const auto& [service, set] : held.ranges)
    ranges += reached.services.contains(service) ? 0 : set.size();
  for (const auto& [list, places] : held.places) tables += !reached.hashed.contains(list);
  std::string out;
  if (slots != 0) out += cat("unreachable slots ", slots, "\n");
  if (members != 0) out += cat("stray members ", members, "\n");
  if (ranges != 0) out += cat("stray source ranges ", ranges, "\n");
  if (tables != 0) out += cat("stray tables ", tables, "\n");
  return out;
}

}  // namespace

std::string dump_maps(const Maps& maps, const ServiceName& name) {
  std::string out = "mode ebpf\n";
  node_lines(maps, out);
  Held held;
  int error = read_held(maps, held);
  if (error != 0) return cat(out, "error reading the maps: ", std::strerror(error), "\n");
  std::vector<std::string> blocks;
  Reached reached;
  error = each_entry<fl_frontend_key, fl_frontend>(
      maps, MapId::frontends, [&](const fl_frontend_key& key, const fl_frontend& value) {
        blocks.push_back(frontend_block(key, value, name, held));
        reached.add(value);
      });
  if (error != 0) return cat(out, "error reading frontends: ", std::strerror(error), "\n");
  std::sort(blocks.begin(), blocks.end());
  for (const std::string& block : blocks) out += block;
  return out + stray_lines(held, reached);
}

std::vector<std::string> entry_lines(const Maps& maps, const std::set<uint32_t>& ids) {
  std::vector<std::string> lines;
  each_entry<fl_frontend_key, fl_frontend>(
      maps, MapId::frontends, [&](const fl_frontend_key& key, const fl_frontend& value) {
        if (!ids.contains(value.service)) return;
        std::string line = cat("frontends: ", to_text(key), " -> service ", value.service,
                               ", slots ", value.count);
        if (value.local_list != 0) {
          line += cat(", local list ", value.local_list, ", slots ", value.local_count);
        }
        if (value.affinity_s != 0) line += cat(", affinity ", value.affinity_s, " s");
        if ((value.flags & FL_FRONTEND_MAGLEV) != 0) line += ", by hash";
        lines.push_back(std::move(line));
      });
  std::sort(lines.begin(), lines.end());
  std::map<std::pair<uint32_t, uint32_t>, std::string> slots;
  each_entry<fl_backend_key, fl_backend>(
      maps, MapId::backends, [&](const fl_backend_key& key, const fl_backend& value) {
        if (ids.contains(key.list)) {
          slots[{key.list, key.slot}] =
              cat("backends: list ", key.list, " slot ", key.slot, " -> ", to_text(value));
        }
      });
  for (const auto& [where, line] : slots) lines.push_back(line);
  std::map<std::pair<uint32_t, uint32_t>, std::string> tables;
  each_entry<uint32_t, fl_maglev>(maps, MapId::maglev, [&](uint32_t list, const fl_maglev& table) {
    if (!ids.contains(list)) return;
    std::map<uint32_t, uint32_t> places;
    count_places(table, places);
    for (const auto& [slot, count] : places) {
      tables[{list, slot}] = cat("maglev: list ", list, " slot ", slot, " -> ", count, " of ",
                                 static_cast<int>(FL_MAGLEV_SIZE), " places");
    }
  });
  for (const auto& [where, line] : tables) lines.push_back(line);
  std::set<std::string> ranges;
  each_entry<fl_source_range, uint32_t>(
      maps, MapId::source_ranges, [&](const fl_source_range& key, uint32_t) {
        if (ids.contains(key.service)) {
          ranges.insert(cat("source_ranges: service ", key.service, " ", to_text(key)));
        }
      });
  lines.insert(lines.end(), ranges.begin(), ranges.end());
  return lines;
}

}  // namespace fairlead::dataplane::ebpf
