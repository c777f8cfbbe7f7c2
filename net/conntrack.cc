#include "net/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "net/nfnetlink.h"

namespace fairlead::net {
namespace {

std::optional<uint16_t> u16_of(const std::optional<std::string_view>& bytes) {
  if (!bytes || bytes->size() != 2) return std::nullopt;
  return static_cast<uint16_t>(static_cast<uint8_t>((*bytes)[0]) << 8 |
                               static_cast<uint8_t>((*bytes)[1]));
}

std::optional<Ip> ip_of(const std::optional<std::string_view>& bytes, bool ipv6) {
  if (!bytes || bytes->size() != (ipv6 ? 16u : 4u)) return std::nullopt;
  Ip ip = Ip::v4(0);
  std::memcpy(ip.bytes.data() + (16 - bytes->size()), bytes->data(), bytes->size());
  return ip;
}

struct Tuple {
  SocketAddress source, destination;
  uint8_t protocol = 0;
};

std::optional<Tuple> parse_tuple(std::string_view attributes, uint16_t which, bool ipv6) {
  const auto tuple = find_attribute(attributes, which);
  if (!tuple) return std::nullopt;
  const auto address = [&](uint16_t type) {
    return ip_of(find_attribute(*tuple, CTA_TUPLE_IP, type), ipv6);
  };
  const auto part = [&](uint16_t type) { return find_attribute(*tuple, CTA_TUPLE_PROTO, type); };
  const auto source = address(ipv6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC);
  const auto destination = address(ipv6 ? CTA_IP_V6_DST : CTA_IP_V4_DST);
  const auto number = part(CTA_PROTO_NUM);
  const auto source_port = u16_of(part(CTA_PROTO_SRC_PORT));
  const auto destination_port = u16_of(part(CTA_PROTO_DST_PORT));
  if (!source || !destination || !number || number->size() != 1) return std::nullopt;
  if (!source_port || !destination_port) return std::nullopt;
  return Tuple{{*source, *source_port},
               {*destination, *destination_port},
               static_cast<uint8_t>(number->front())};
}

std::string_view ip_bytes(const Ip& ip) {
  const size_t skip = ip.is_v4() ? 12 : 0;
  return {reinterpret_cast<const char*>(ip.bytes.data()) + skip, 16 - skip};
}

void put_tuple(NfMessage& message, uint16_t which, Protocol protocol, const SocketAddress& source,
               const SocketAddress& destination) {
  const bool ipv6 = !source.ip.is_v4();
  const size_t tuple = message.begin(which);
  const size_t ip = message.begin(CTA_TUPLE_IP);
  message.put(ipv6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, ip_bytes(source.ip));
  message.put(ipv6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, ip_bytes(destination.ip));
  message.end(ip);
  const size_t ports = message.begin(CTA_TUPLE_PROTO);
  const char number = static_cast<char>(protocol);
  message.put(CTA_PROTO_NUM, {&number, 1});
  message.put_u16(CTA_PROTO_SRC_PORT, source.port);
  message.put_u16(CTA_PROTO_DST_PORT, destination.port);
  message.end(ports);
  message.end(tuple);
}

// The tracker keeps a connection that has ended for the segments that still come: two minutes, or
// ten seconds after a reset.
FlowStage stage_of(std::string_view attributes) {
  const auto state =
      find_attribute(attributes, CTA_PROTOINFO, CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_STATE);
  if (!state || state->size() != 1) return FlowStage::open;
  switch (state->front()) {
    case TCP_CONNTRACK_SYN_SENT:
    case TCP_CONNTRACK_SYN_SENT2:
    case TCP_CONNTRACK_SYN_RECV:
      return FlowStage::opening;
    case TCP_CONNTRACK_TIME_WAIT:
    case TCP_CONNTRACK_CLOSE:
      return FlowStage::ended;
    default:
      return FlowStage::open;
  }
}

void put_u32(NfMessage& message, uint16_t type, uint32_t value) {
  const uint32_t raw = htonl(value);
  message.put(type, {reinterpret_cast<const char*>(&raw), sizeof raw});
}

// A request about one flow.
NfMessage about(const TrackedFlow& flow, uint8_t type) {
  NfMessage message(NFNL_SUBSYS_CTNETLINK, type, 0, flow.source.ip.is_v4() ? AF_INET : AF_INET6);
  put_tuple(message, CTA_TUPLE_ORIG, flow.protocol, flow.source, flow.destination);
  if (flow.zone != 0) message.put_u16(CTA_ZONE, flow.zone);
  return message;
}

std::string trouble(std::string_view what, const TrackedFlow& flow, int error) {
  return cat("conntrack: cannot ", what, " ", flow.source.to_string(), " -> ",
             flow.destination.to_string(), "/", to_string(flow.protocol), ": ",
             std::strerror(error));
}

// Connections may be idle for long, and would be translated when they are picked up again. With
// the first packet the kernel's own time begins.
constexpr uint32_t adopted_s = 86400;

class Ctnetlink final : public Conntrack {
 public:
  Result<std::vector<TrackedFlow>> flows(Protocol protocol) override {
    FL_TRY_VOID(open());
    std::vector<TrackedFlow> out;
    NfMessage message(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
    const auto keep = [&](uint8_t family, std::string_view attributes) {
      const auto flow = parse_conntrack_message(attributes, family == AF_INET6);
      if (flow && flow->protocol == protocol) out.push_back(*flow);
    };
    // A dump that was overtaken by changes is as good as any: flows come and go meanwhile.
    FL_TRY(const int error, socket_->dump(message, keep));
    if (error != 0 && error != EINTR) {
      return fail(cat("conntrack: cannot list flows: ", std::strerror(error)));
    }
    return out;
  }

  Result<std::optional<TrackedFlow>> find(const TrackedFlow& flow) override {
    FL_TRY_VOID(open());
    std::optional<TrackedFlow> found;
    NfMessage message = about(flow, IPCTNL_MSG_CT_GET);
    const auto keep = [&](uint8_t family, std::string_view attributes) {
      found = parse_conntrack_message(attributes, family == AF_INET6);
    };
    FL_TRY(const int error, socket_->request(message, keep));
    if (error == 0 || error == ENOENT) return found;
    return fail(trouble("look up", flow, error));
  }

  Result<bool> remove(const TrackedFlow& flow) override {
    FL_TRY_VOID(open());
    NfMessage message = about(flow, IPCTNL_MSG_CT_DELETE);
    FL_TRY(const int error, socket_->request(message));
    if (error == ENOENT) return false;
    if (error == 0) return true;
    return fail(trouble("remove", flow, error));
  }

  Result<bool> adopt(const SocketAddress& client, const SocketAddress& server) override {
    FL_TRY_VOID(open());
    NfMessage message(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL,
                      client.ip.is_v4() ? AF_INET : AF_INET6);
    put_tuple(message, CTA_TUPLE_ORIG, Protocol::tcp, client, server);
    put_tuple(message, CTA_TUPLE_REPLY, Protocol::tcp, server, client);
    put_u32(message, CTA_STATUS, IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED);
    put_u32(message, CTA_TIMEOUT, adopted_s);
    const size_t info = message.begin(CTA_PROTOINFO);
    const size_t tcp = message.begin(CTA_PROTOINFO_TCP);
    const char state = TCP_CONNTRACK_ESTABLISHED;
    message.put(CTA_PROTOINFO_TCP_STATE, {&state, 1});
    // The windows that the two sides agreed on are not known: no segment is out of them.
    constexpr char flags = IP_CT_TCP_FLAG_SACK_PERM | IP_CT_TCP_FLAG_BE_LIBERAL;
    constexpr char flags_and_mask[] = {flags, flags};
    for (const uint16_t side : {CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, CTA_PROTOINFO_TCP_FLAGS_REPLY}) {
      message.put(side, {flags_and_mask, sizeof flags_and_mask});
    }
    message.end(tcp);
    message.end(info);
    FL_TRY(const int error, socket_->request(message));
    if (error == EEXIST) return false;
    if (error == 0) return true;
    return fail(cat("conntrack: cannot take up ", client.to_string(), " -> ", server.to_string(),
                    "/TCP: ", std::strerror(error)));
  }

 private:
  Result<void> open() {
    if (socket_) return {};
    FL_TRY(auto socket, Nfnetlink::open());
    socket_.emplace(std::move(socket));
    return {};
  }

  std::optional<Nfnetlink> socket_;
};

}  // namespace

std::optional<TrackedFlow> parse_conntrack_message(std::string_view attributes, bool ipv6) {
  const auto original = parse_tuple(attributes, CTA_TUPLE_ORIG, ipv6);
  const auto reply = parse_tuple(attributes, CTA_TUPLE_REPLY, ipv6);
  if (!original || !reply) return std::nullopt;
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    if (original->protocol != static_cast<uint8_t>(protocol)) continue;
    return TrackedFlow{protocol,
                       original->source,
                       original->destination,
                       reply->source,
                       reply->destination,
                       u16_of(find_attribute(attributes, CTA_ZONE)).value_or(0),
                       protocol == Protocol::tcp ? stage_of(attributes) : FlowStage::open};
  }
  return std::nullopt;
}

Result<bool> Conntrack::remove_unchanged(const TrackedFlow& flow) {
  FL_TRY(const std::optional<TrackedFlow> now, find(flow));
  if (now != flow) return false;
  return remove(flow);
}

Result<bool> Conntrack::adopt_open(const SocketAddress& client, const SocketAddress& server) {
  FL_TRY(const bool added, adopt(client, server));
  if (added) return true;
  for (const auto& [from, to] : {std::pair(client, server), std::pair(server, client)}) {
    FL_TRY(const std::optional<TrackedFlow> known, find({Protocol::tcp, from, to}));
    if (!known) continue;
    const bool between = known->source == client || known->source == server;
    if (between && !known->translated() && known->stage != FlowStage::ended) return false;
    FL_TRY_VOID(remove(*known));
  }
  return adopt(client, server);
}

std::unique_ptr<Conntrack> make_conntrack() { return std::make_unique<Ctnetlink>(); }

Result<std::vector<TrackedFlow>> FakeConntrack::flows(Protocol protocol) {
  ++reads_;
  if (!error_.empty()) return fail(error_);
  std::vector<TrackedFlow> out;
  for (const TrackedFlow& flow : flows_) {
    if (flow.protocol == protocol) out.push_back(flow);
  }
  return out;
}

Result<std::optional<TrackedFlow>> FakeConntrack::find(const TrackedFlow& flow) {
  if (!error_.empty()) return fail(error_);
  for (const TrackedFlow& one : flows_) {
    if (one.protocol != flow.protocol || one.zone != flow.zone) continue;
    const bool begins = one.source == flow.source && one.destination == flow.destination;
    const bool answers =
        one.reply_source == flow.source && one.reply_destination == flow.destination;
    if (begins || answers) return one;
  }
  return std::nullopt;
}

Result<bool> FakeConntrack::remove(const TrackedFlow& flow) {
  if (!error_.empty()) return fail(error_);
  return flows_.erase(flow) != 0;
}

Result<bool> FakeConntrack::adopt(const SocketAddress& client, const SocketAddress& server) {
  FL_TRY(const auto known, find({Protocol::tcp, client, server}));
  FL_TRY(const auto answers, find({Protocol::tcp, server, client}));
  if (known || answers) return false;
  flows_.insert({Protocol::tcp, client, server, server, client});
  return true;
}

}  // namespace fairlead::net
