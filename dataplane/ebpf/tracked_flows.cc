#include "dataplane/ebpf/tracked_flows.h"

#include <netinet/in.h>

#include <cstring>
#include <optional>

#include "base/text.h"
#include "dataplane/ebpf/map_codec.h"

namespace fairlead::dataplane::ebpf {
namespace {

constexpr size_t most_given = 16384;  // messages to the kernel, a few microseconds each

fl_tuple tuple_of(const SocketAddress& from, const SocketAddress& to, fl_hook hook) {
  fl_tuple tuple{};
  tuple.src = to_map(from.ip);
  tuple.sport = to_network(from.port);
  tuple.dst = to_map(to.ip);
  tuple.dport = to_network(to.port);
  tuple.protocol = IPPROTO_TCP;
  tuple.hook = static_cast<uint8_t>(hook);
  return tuple;
}

fl_nat into_itself(const SocketAddress& node, uint16_t flags, uint32_t now) {
  fl_nat nat{};
  nat.ip = to_map(node.ip);
  nat.port = to_network(node.port);
  nat.flags = flags;
  nat.seen = now;
  return nat;
}

// A client's that is masqueraded, or one of this node whose port a client's has.
bool has_a_port_of_ours(const TrackedFlow& flow) {
  return flow.translated() ? flow.reply_destination != flow.source : flow.port_changed();
}

SocketAddress address(const fl_ip& ip, uint16_t port) { return {from_map(ip), to_host(port)}; }

bool is_open(const fl_tuple& tuple, const fl_nat& nat, uint32_t now) {
  constexpr uint16_t closing = FL_NAT_FIN | FL_NAT_PEER_FIN | FL_NAT_RST;
  const auto idle = static_cast<int32_t>(now - nat.seen);
  return tuple.protocol == IPPROTO_TCP && (nat.flags & FL_NAT_REPLIED) != 0 &&
         (nat.flags & closing) == 0 &&
         idle <= static_cast<int32_t>(fl_flow_timeout(true, nat.flags));
}

}  // namespace

Result<size_t> take_tracked_ports(net::Conntrack& tracker, Maps& maps, uint32_t now) {
  uint16_t low = 1, high = 0;
  each_entry<uint32_t, fl_config>(maps, MapId::config, [&](uint32_t, const fl_config& config) {
    low = config.masquerade_port_low;
    high = config.masquerade_port_high;
  });
  FL_TRY(const std::vector<TrackedFlow> flows, tracker.flows(Protocol::tcp));
  std::vector<fl_tuple> keys;
  std::vector<fl_nat> values;
  for (const TrackedFlow& flow : flows) {
    const SocketAddress &node = flow.reply_destination, &backend = flow.reply_source;
    if (!has_a_port_of_ours(flow) || node.port < low || node.port > high) continue;
    if (keys.size() + 2 > maps.capacity(MapId::conntrack) / 4) break;
    keys.push_back(tuple_of(backend, node, FL_INGRESS));
    values.push_back(into_itself(node, FL_NAT_REPLY, now));
    keys.push_back(tuple_of(node, backend, FL_EGRESS));
    values.push_back(into_itself(node, 0, now));
  }
  const WriteOutcome written = maps.update(MapId::conntrack, bytes_of(keys), bytes_of(values));
  if (written.error == 0) return keys.size() / 2;
  return fail(write_trouble(maps, MapId::conntrack, written.error));
}

Result<size_t> give_to_tracker(net::Conntrack& tracker, const Maps& maps, uint32_t now) {
  struct Seen {
    SocketAddress client, server;
  };
  std::vector<Seen> open;
  const int error = each_entry<fl_tuple, fl_nat>(
      maps, MapId::conntrack, [&](const fl_tuple& tuple, const fl_nat& nat) {
        if ((nat.flags & FL_NAT_REPLY) != 0 || !is_open(tuple, nat, now)) return;
        if (open.size() == most_given) return;
        const SocketAddress to = address(nat.ip, nat.port);
        open.push_back(tuple.hook == FL_INGRESS ? Seen{address(tuple.src, tuple.sport), to}
                                                : Seen{to, address(tuple.dst, tuple.dport)});
      });
  if (error != 0) return fail(cat("cannot read the conntrack map: ", std::strerror(error)));
  size_t given = 0;
  for (const Seen& one : open) {
    FL_TRY(const bool is_new, tracker.adopt_open(one.client, one.server));
    given += is_new;
  }
  return given;
}

}  // namespace fairlead::dataplane::ebpf
