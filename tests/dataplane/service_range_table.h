// A table for walks: external addresses among those of the service range.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane {

// Services with external addresses inside the service range: nobody's, or the ClusterIP of another
// Service, with its port or one that it has not.
inline ServiceTable table_of_addresses_inside_the_service_range() {
  const auto rule = [](Frontend frontend, std::vector<std::string_view> backends) {
    PortRule out;
    out.frontends = {frontend};
    for (const std::string_view one : backends) out.backends.push_back({*Ip::parse(one), 8080});
    return out;
  };
  ServiceTable table;
  table.node = random_node();
  uint32_t net = 0x0a600000;
  for (const uint8_t host : {77, 2}) {
    for (const uint16_t port : {80, 81}) {
      for (const char* name : {"a", "c"}) {
        const auto frontend = [&](FrontendKind kind, bool local_only = false) {
          return Frontend{kind, Ip::v4((net += 256) + host), port, local_only};
        };
        PortRule guarded = rule(frontend(FrontendKind::load_balancer), {"10.2.0.5"});
        PortRule closed = rule(frontend(FrontendKind::load_balancer), {});
        guarded.source_ranges = closed.source_ranges = {*Cidr::parse("203.0.113.0/24")};
        PortRule remote = rule(frontend(FrontendKind::external_ip, true), {"10.2.0.6"});
        remote.if_empty = NoBackend::drop;
        const PortRule empty = rule(frontend(FrontendKind::external_ip), {});
        const PortRule open = rule(frontend(FrontendKind::external_ip), {"10.2.0.7", "10.2.0.8"});
        for (const PortRule& one : {guarded, closed, remote, empty, open}) {
          const std::string number = std::to_string(table.services.size());
          const Ip owned = Ip::v4((one.frontends[0].ip.to_v4() & ~0xffu) + 2);
          table.services[{"default", cat(name, number)}].ports = {one};
          table.services[{"default", cat("b", number)}].ports = {
              rule({FrontendKind::cluster_ip, owned, 80}, {"10.2.0.9"})};
        }
      }
    }
  }
  return table;
}

}  // namespace fairlead::dataplane
