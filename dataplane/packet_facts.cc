#include "dataplane/packet_facts.h"

#include <algorithm>
#include <tuple>

#include "dataplane/flow.h"

namespace fairlead::dataplane {
namespace {

bool covers(const Cidr& outer, const Cidr& inner) {
  return outer.bits <= inner.bits && outer.base.is_v4() == inner.base.is_v4() &&
         outer.contains(inner.base);
}

}  // namespace

std::vector<Cidr> dial_ranges(const NodeConfig& node, const PortRule& rule,
                              const Frontend& frontend) {
  if (frontend.kind != FrontendKind::load_balancer || rule.source_ranges.empty()) return {};
  std::vector<Cidr> ranges = rule.source_ranges;
  if (may_dial(node, rule, frontend, frontend.ip)) {
    ranges.push_back({frontend.ip, static_cast<uint8_t>(rule.ipv6 ? 128 : 32)});
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const Cidr& a, const Cidr& b) { return std::tie(a.bits, a) < std::tie(b.bits, b); });
  std::vector<Cidr> out;
  for (const Cidr& range : ranges) {
    if (range.bits == 0) return {};
    const auto has = [&](const Cidr& kept) { return covers(kept, range); };
    if (std::none_of(out.begin(), out.end(), has)) out.push_back(range);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Ip> hairpin_ips(const NodeConfig& node, const ServiceEntry& entry) {
  std::vector<Ip> out;
  for (const PortRule& rule : entry.ports) {
    const bool knows_pods = knows_local_pods(node, rule.ipv6);
    for (const Backend& backend : rule.backends) {
      // A backend whose node is not known may be here as well.
      if (backend.local || !knows_pods ||
          classify_source(node, backend.ip) == SourceClass::local_pod) {
        out.push_back(backend.ip);
      }
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace fairlead::dataplane
