#include "dataplane/nftables/rows.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "dataplane/flow.h"

namespace fairlead::dataplane::nft {
namespace {

Row make_row(const NodeConfig& node, const PortRule& rule, const Frontend& frontend,
             SourceClass source, Action action) {
  Row row;
  for (const Backend& backend : treatment(node, rule, frontend, source).backends) {
    row.slots.push_back({backend.ip, backend.port});
  }
  const bool reject = rule.if_empty == NoBackend::reject;
  row.action = !row.slots.empty() ? action : (reject ? Action::no_endpoint : Action::policy_drop);
  return row;
}

void add_rows(const NodeConfig& node, const PortRule& rule, const Frontend& frontend, const Ip& ip,
              std::vector<std::pair<RowKey, Row>>& out) {
  RowKey key{ip, rule.protocol, frontend.port, false};
  if (frontend.kind == FrontendKind::cluster_ip) {
    out.emplace_back(key, make_row(node, rule, frontend, SourceClass::node, Action::internal));
    return;
  }
  const Action inside = frontend.local_only ? Action::node_only : Action::external;
  out.emplace_back(key, make_row(node, rule, frontend, SourceClass::node, inside));
  if (!frontend.local_only) return;
  key.outside = true;
  out.emplace_back(key, make_row(node, rule, frontend, SourceClass::outside, Action::outside));
}

}  // namespace

std::vector<std::pair<RowKey, Row>> rows_of(const NodeConfig& node, const ServiceEntry& entry) {
  std::vector<std::pair<RowKey, Row>> out;
  for (const PortRule& rule : entry.ports) {
    for (const Frontend& frontend : rule.frontends) {
      if (frontend.kind != FrontendKind::node_port) {
        add_rows(node, rule, frontend, frontend.ip, out);
        continue;
      }
      for (const Ip& ip : node.node_ips) {
        if (ip.is_v4() != rule.ipv6) add_rows(node, rule, frontend, ip, out);
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
    std::vector<SocketAddress> slots = row->slots;
    std::sort(slots.begin(), slots.end());
    for (const SocketAddress& slot : slots) append(out, cat(" ", slot.to_string()));
    append(out, '\n');
  }
  return out;
}

}  // namespace fairlead::dataplane::nft
