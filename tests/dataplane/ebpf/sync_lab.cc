#include "tests/dataplane/ebpf/sync_lab.h"

#include <algorithm>

#include "base/text.h"
#include "dataplane/ebpf/map_dump.h"

namespace fairlead::dataplane::ebpf {

std::string dump(const Maps& maps, const ServiceSync& sync) {
  return dump_maps(maps, [&](uint32_t id) { return sync.name_of(id); });
}

std::set<api::ObjectKey> differences(const ServiceTable& a, const ServiceTable& b) {
  std::set<api::ObjectKey> keys;
  for (const auto& [key, entry] : a.services) {
    auto other = b.services.find(key);
    if (other == b.services.end() || other->second != entry) keys.insert(key);
  }
  for (const auto& [key, entry] : b.services) {
    if (!a.services.contains(key)) keys.insert(key);
  }
  return keys;
}

ServiceTable random_table(std::mt19937& random, const ServiceTable& from) {
  ServiceTable table = from;
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int edits = 1 + below(4); edits > 0; --edits) {
    int i = below(6);
    api::ObjectKey key{"ns", cat("s", i)};
    if (below(5) == 0) {
      table.services.erase(key);
      continue;
    }
    ServiceEntry entry;
    for (int port = 0; port < 1 + below(2); ++port) {
      PortRule rule{.port_name = cat("p", port)};
      uint16_t number = static_cast<uint16_t>(80 + port);
      rule.frontends.push_back(
          {FrontendKind::cluster_ip, Ip::v4(0x0a600000u + unsigned(i)), number});
      if (below(2)) {
        // Two services share a pool of node ports, and may ask for one at the same time.
        const auto node_port = static_cast<uint16_t>(30000 + i / 2 * 10 + port);
        rule.frontends.push_back({FrontendKind::node_port, Ip::v4(0), node_port});
      }
      if (below(3) == 0) {
        rule.frontends.push_back(
            {FrontendKind::load_balancer, Ip::v4(0xcb007100u + unsigned(i)), number});
        for (int r = below(3); r > 0; --r) {
          rule.source_ranges.push_back({Ip::v4(0xc0a80000u + unsigned(below(4)) * 256), 24});
        }
      }
      const bool internal = below(4) == 0, external = below(3) == 0;
      for (Frontend& frontend : rule.frontends) {
        frontend.local_only = frontend.kind == FrontendKind::cluster_ip ? internal : external;
      }
      if (below(4) == 0) rule.affinity_timeout_s = unsigned(100 + below(2));
      if (below(3) == 0) rule.algorithm = Algorithm::maglev;
      for (int b = 0; b < 8; ++b) {
        if (below(3) == 0) rule.backends.push_back({Ip::v4(0x01000000u + unsigned(b)), 1, b < 4});
      }
      // Some local ones are for policy Local only.
      while (rule.cluster_first < rule.backends.size() && rule.backends[rule.cluster_first].local &&
             below(4) == 0) {
        ++rule.cluster_first;
      }
      std::sort(rule.frontends.begin(), rule.frontends.end());
      entry.ports.push_back(rule);
    }
    table.services[key] = entry;
  }
  return table;
}

namespace {

std::string without_flags(fl_backend backend) {
  backend.flags = 0;
  return to_text(backend);
}

}  // namespace

Sets sets_of(const ServiceTable& table) {
  Sets sets;
  for (const auto& [key, entry] : table.services) {
    for (const PortRule& rule : entry.ports) {
      for (const Frontend& frontend : rule.frontends) {
        const std::string name = to_text(to_map(frontend, rule.protocol));
        if (sets.contains(name + " any")) continue;  // the first service has it
        const auto add = [&](const char* set, std::span<const Backend> backends) {
          auto& into = sets[name + set];
          for (const Backend& backend : backends) into.insert(without_flags(to_map(backend)));
        };
        if (!frontend.local_only || frontend.kind != FrontendKind::cluster_ip) {
          add(" cluster", cluster_backends(rule));
        }
        if (frontend.local_only) add(" local", local_backends(rule));
        add(" any", rule.backends);
      }
    }
  }
  return sets;
}

std::string wrong_now(const FakeMaps& maps, const Sets& before, const Sets& after) {
  std::set<std::string> present;
  std::string wrong;
  const auto look = [&](const std::string& frontend, const char* set, uint32_t service,
                        uint32_t list, uint32_t count) {
    const std::string name = frontend + set;
    present.insert(name);
    std::set<std::string> good;
    // Another policy from now on: every backend of the service is one that it may lead to.
    if (auto any = after.find(frontend + " any"); any != after.end() && !after.contains(name)) {
      good = any->second;
    }
    for (const Sets* sets : {&before, &after}) {
      if (auto found = sets->find(name); found != sets->end()) {
        good.insert(found->second.begin(), found->second.end());
      }
    }
    for (uint32_t slot = 0; slot < count; ++slot) {
      auto* backend = maps.find<fl_backend>(MapId::backends, fl_backend_key{list, slot});
      if (backend == nullptr)
        wrong += cat(name, " misses slot ", slot, "\n");
      else if (backend->list != list)
        wrong += cat(name, " foreign slot\n");
      else if (!good.contains(without_flags(*backend)))
        wrong += cat(name, " leads to ", to_text(*backend), "\n");
      else if (!maps.find<uint32_t>(MapId::members,
                                    fl_member_key{service, backend->ip, backend->port, 0}))
        wrong += cat(name, " has a backend that is no member: ", to_text(*backend), "\n");
    }
    auto old_set = before.find(name), new_set = after.find(name);
    bool always = old_set != before.end() && new_set != after.end() && !old_set->second.empty() &&
                  !new_set->second.empty();
    if (always && count == 0) wrong += cat(name, " has no backend\n");
  };
  each_entry<fl_frontend_key, fl_frontend>(
      maps, MapId::frontends, [&](const fl_frontend_key& key, const fl_frontend& value) {
        const bool local = (value.flags & FL_FRONTEND_LOCAL_ONLY) != 0;
        if (!local || (value.flags & FL_FRONTEND_EXTERNAL) != 0) {
          look(to_text(key), " cluster", value.service, value.service, value.count);
        }
        if (local) look(to_text(key), " local", value.service, value.local_list, value.local_count);
      });
  for (const auto& [name, backends] : before) {
    if (name.ends_with(" any")) continue;
    if (after.contains(name) && !present.contains(name)) wrong += cat(name, " is missing\n");
  }
  return wrong;
}

std::map<std::string, size_t> hashed_choices(const FakeMaps& maps) {
  std::map<std::string, size_t> choices;
  const auto add = [&](const std::string& name, uint32_t list, uint32_t count) {
    const auto* table = maps.find<fl_maglev>(MapId::maglev, list);
    if (count == 0 || table == nullptr) return;
    std::vector<size_t> backends;
    for (uint32_t slot = 0; slot < count; ++slot) {
      const auto* backend = maps.find<fl_backend>(MapId::backends, fl_backend_key{list, slot});
      backends.push_back(backend == nullptr ? 0 : std::hash<std::string>()(to_text(*backend)));
    }
    size_t& choice = choices[name];
    for (const uint16_t slot : table->slot) {
      choice = choice * 31 + (slot < count && table->list == list ? backends[slot] : 0);
    }
  };
  each_entry<fl_frontend_key, fl_frontend>(
      maps, MapId::frontends, [&](const fl_frontend_key& key, const fl_frontend& value) {
        if ((value.flags & FL_FRONTEND_MAGLEV) == 0) return;
        add(to_text(key) + " cluster", value.service, value.count);
        if (value.local_list != 0)
          add(to_text(key) + " local", value.local_list, value.local_count);
      });
  return choices;
}

}  // namespace fairlead::dataplane::ebpf
