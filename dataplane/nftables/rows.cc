#include "dataplane/nftables/rows.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "dataplane/flow.h"
#include "dataplane/packet_facts.h"
#include "net/crypto.h"

namespace fairlead::dataplane::nft {
namespace {

// One word names a rule and a set of its backends; 62 bits of a digest never meet by chance.
uint64_t affinity_id(const api::ObjectKey& service, const PortRule& rule, bool local_set) {
  const std::string digest =
      net::sha256(cat(service.to_string(), "\n", rule.port_name, "\n", to_string(rule.protocol),
                      rule.ipv6 ? "6" : "4", local_set ? "local" : ""));
  uint64_t id = 0;
  for (size_t i = 0; i < 8; ++i) id = id << 8 | static_cast<uint8_t>(digest[i]);
  return id & 0x7fffffff7fffffff;
}

struct RowMaker {
  const NodeConfig& node;
  const api::ObjectKey& service;
  const PortRule& rule;
  std::vector<std::pair<RowKey, Row>>& out;

  Row make(const Frontend& frontend, SourceClass source, Action action,
           const std::vector<Cidr>& ranges) const {
    Row row;
    for (const Backend& backend : treatment(node, rule, frontend, source).backends) {
      row.slots.push_back({backend.ip, backend.port});
    }
    const bool reject = rule.if_empty == NoBackend::reject;
    row.action = !row.slots.empty() ? action : (reject ? Action::no_endpoint : Action::policy_drop);
    row.guarded = !ranges.empty();
    const bool local_set =
        action == Action::outside || (action == Action::internal && frontend.local_only);
    if (rule.affinity_timeout_s != 0 && !row.slots.empty()) {
      row.affinity = {affinity_id(service, rule, local_set), rule.affinity_timeout_s};
    }
    return row;
  }

  void add(const Frontend& frontend, const Ip& ip) const {
    RowKey key{ip, rule.protocol, frontend.port, false};
    if (frontend.kind == FrontendKind::cluster_ip) {
      out.emplace_back(key, make(frontend, SourceClass::node, Action::internal, {}));
      return;
    }
    const std::vector<Cidr> ranges = dial_ranges(node, rule, frontend);
    const Action inside = frontend.local_only ? Action::node_only : Action::external;
    Row row = make(frontend, SourceClass::node, inside, ranges);
    row.ranges = ranges;
    out.emplace_back(key, std::move(row));
    if (!frontend.local_only) return;
    key.outside = true;
    out.emplace_back(key, make(frontend, SourceClass::outside, Action::outside, ranges));
  }
};

}  // namespace

std::vector<std::pair<RowKey, Row>> rows_of(const NodeConfig& node, const api::ObjectKey& service,
                                            const ServiceEntry& entry) {
  std::vector<std::pair<RowKey, Row>> out;
  for (const PortRule& rule : entry.ports) {
    const RowMaker maker{node, service, rule, out};
    for (const Frontend& frontend : rule.frontends) {
      if (frontend.kind != FrontendKind::node_port) {
        maker.add(frontend, frontend.ip);
        continue;
      }
      for (const Ip& ip : node_port_ips(node)) {
        if (ip.is_v4() != rule.ipv6) maker.add(frontend, ip);
      }
    }
  }
  // Of rows with one key the first stays: map::emplace keeps what is there.
  std::map<RowKey, Row> sorted;
  for (auto& [key, row] : out) sorted.emplace(key, std::move(row));
  return {sorted.begin(), sorted.end()};
}

std::vector<SocketAddress> assign_slots(const std::vector<SocketAddress>& current,
                                        const std::vector<SocketAddress>& wanted) {
  if (current.empty()) return wanted;
  std::set<SocketAddress> missing(wanted.begin(), wanted.end());
  std::vector<SocketAddress> slots = current;
  std::vector<size_t> holes;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (missing.erase(slots[i]) == 0) holes.push_back(i);
  }
  size_t next_hole = 0;
  for (const SocketAddress& address : missing) {
    if (next_hole < holes.size()) {
      slots[holes[next_hole++]] = address;
    } else {
      slots.push_back(address);
    }
  }
  for (size_t i = holes.size(); i > next_hole; --i) {
    slots[holes[i - 1]] = slots.back();
    slots.pop_back();
  }
  return slots;
}

std::string_view to_string(Action action) {
  switch (action) {
    case Action::internal:
      return "internal";
    case Action::external:
      return "external";
    case Action::node_only:
      return "node-only";
    case Action::outside:
      return "outside";
    case Action::no_endpoint:
      return "no-endpoint";
    case Action::policy_drop:
      return "policy-drop";
  }
  return "";
}

std::string to_text(const RowMap& rows) {
  std::map<RowKey, const Row*> sorted;
  for (const auto& [key, row] : rows) sorted.emplace(key, &row);
  std::string out;
  for (const auto& [key, row] : sorted) {
    append(out, cat(SocketAddress{key.ip, key.port}.to_string(), " ",
                    fairlead::to_string(key.protocol), " ", to_string(row->action)));
    if (row->affinity.timeout_s != 0) append(out, cat(" affinity ", row->affinity.timeout_s, "s"));
    if (row->guarded) append(out, " guarded");
    for (const Cidr& range : row->ranges) append(out, cat(" from ", range.to_string()));
    std::vector<SocketAddress> slots = row->slots;
    std::sort(slots.begin(), slots.end());
    for (const SocketAddress& slot : slots) append(out, cat(" ", slot.to_string()));
    append(out, '\n');
  }
  return out;
}

}  // namespace fairlead::dataplane::nft
