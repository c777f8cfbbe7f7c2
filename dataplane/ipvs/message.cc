#include "dataplane/ipvs/message.h"

#include <arpa/inet.h>
#include <linux/ip_vs.h>
#include <sys/socket.h>

#include <cstring>

#include "base/text.h"
#include "net/netlink_generic.h"

namespace fairlead::dataplane::ipvs {
namespace {

using net::NetlinkReader;
using net::NetlinkWriter;

constexpr size_t max_scheduler_size = IP_VS_SCHEDNAME_MAXLEN;

// union nf_inet_addr: IPv4 in the first 4 of 16 bytes.
std::string address_bytes(const Ip& ip) {
  std::string out(16, '\0');
  const size_t skip = ip.is_v4() ? 12 : 0;
  std::memcpy(out.data(), ip.bytes.data() + skip, 16 - skip);
  return out;
}

std::optional<Ip> address_from(std::string_view bytes, bool ipv6) {
  if (bytes.size() < (ipv6 ? 16 : 4)) return std::nullopt;
  Ip ip = ipv6 ? Ip{} : Ip::v4(0);
  std::memcpy(ip.bytes.data() + (ipv6 ? 0 : 12), bytes.data(), ipv6 ? 16 : 4);
  return ip;
}

void put_key(NetlinkWriter& out, const ServiceKey& key) {
  out.put_u16(IPVS_SVC_ATTR_AF, key.ip.is_v4() ? AF_INET : AF_INET6);
  out.put_u16(IPVS_SVC_ATTR_PROTOCOL, static_cast<uint16_t>(key.protocol));
  out.put(IPVS_SVC_ATTR_ADDR, address_bytes(key.ip));
  out.put_u16(IPVS_SVC_ATTR_PORT, htons(key.port));
}

std::string in_service(const NetlinkWriter& inside) {
  NetlinkWriter out;
  out.put(IPVS_CMD_ATTR_SERVICE, inside.bytes());
  return out.bytes();
}

// The payload of the one attribute `type`.
Result<std::string_view> find_nested(std::string_view attributes, uint16_t type) {
  NetlinkReader reader(attributes);
  for (;;) {
    FL_TRY(const auto attribute, reader.next());
    if (!attribute) return fail(cat("IPVS answer without attribute ", type));
    if (attribute->type == type) return attribute->payload;
  }
}

struct RawService {
  std::optional<uint16_t> family, protocol, port;
  std::optional<uint32_t> mark, timeout;
  std::string_view address, scheduler, flags;
};

Result<RawService> read_service(std::string_view bytes) {
  RawService raw;
  NetlinkReader reader(bytes);
  for (;;) {
    FL_TRY(const auto attribute, reader.next());
    if (!attribute) return raw;
    switch (attribute->type) {
      case IPVS_SVC_ATTR_AF:
        raw.family = attribute->u16();
        break;
      case IPVS_SVC_ATTR_PROTOCOL:
        raw.protocol = attribute->u16();
        break;
      case IPVS_SVC_ATTR_PORT:
        raw.port = attribute->u16();
        break;
      case IPVS_SVC_ATTR_ADDR:
        raw.address = attribute->payload;
        break;
      case IPVS_SVC_ATTR_FWMARK:
        raw.mark = attribute->u32();
        break;
      case IPVS_SVC_ATTR_SCHED_NAME:
        raw.scheduler = attribute->text();
        break;
      case IPVS_SVC_ATTR_FLAGS:
        raw.flags = attribute->payload;
        break;
      case IPVS_SVC_ATTR_TIMEOUT:
        raw.timeout = attribute->u32();
        break;
      default:
        break;
    }
  }
}

std::optional<Protocol> known_protocol(std::optional<uint16_t> number) {
  for (const Protocol known : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    if (number == static_cast<uint16_t>(known)) return known;
  }
  return std::nullopt;
}

}  // namespace

std::string encode_key(const ServiceKey& key) {
  NetlinkWriter inside;
  put_key(inside, key);
  return in_service(inside);
}

std::string encode_service(const ServiceKey& key, const Settings& settings) {
  NetlinkWriter inside;
  put_key(inside, key);
  inside.put_text(IPVS_SVC_ATTR_SCHED_NAME, settings.scheduler);
  ip_vs_flags flags{};
  if (settings.timeout_s != 0) flags.flags |= IP_VS_SVC_F_PERSISTENT;
  if (settings.by_source_port) flags.flags |= IP_VS_SVC_F_SCHED2;
  flags.mask = ~0u;
  inside.put(IPVS_SVC_ATTR_FLAGS, {reinterpret_cast<const char*>(&flags), sizeof flags});
  inside.put_u32(IPVS_SVC_ATTR_TIMEOUT, settings.timeout_s);
  // Who counts as one client: an address.
  inside.put_u32(IPVS_SVC_ATTR_NETMASK, key.ip.is_v4() ? ~0u : 128u);
  return in_service(inside);
}

std::string encode_destination(const ServiceKey& key, const SocketAddress& address,
                               const Destination& destination) {
  NetlinkWriter inside;
  inside.put(IPVS_DEST_ATTR_ADDR, address_bytes(address.ip));
  inside.put_u16(IPVS_DEST_ATTR_PORT, htons(address.port));
  inside.put_u32(IPVS_DEST_ATTR_FWD_METHOD, destination.forwarding);
  inside.put_u32(IPVS_DEST_ATTR_WEIGHT, destination.weight);
  inside.put_u32(IPVS_DEST_ATTR_U_THRESH, 0);
  inside.put_u32(IPVS_DEST_ATTR_L_THRESH, 0);
  inside.put_u16(IPVS_DEST_ATTR_ADDR_FAMILY, address.ip.is_v4() ? AF_INET : AF_INET6);
  NetlinkWriter out;
  out.put(IPVS_CMD_ATTR_DEST, inside.bytes());
  return encode_key(key) + out.bytes();
}

std::string encode_timeouts(const Timeouts& timeouts) {
  NetlinkWriter out;
  // 0 changes nothing (ip_vs_set_timeout()).
  out.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP, timeouts.tcp);
  out.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, timeouts.tcp_fin);
  out.put_u32(IPVS_CMD_ATTR_TIMEOUT_UDP, timeouts.udp);
  return out.bytes();
}

Result<std::optional<ServiceAnswer>> parse_service(std::string_view attributes) {
  FL_TRY(const std::string_view bytes, find_nested(attributes, IPVS_CMD_ATTR_SERVICE));
  FL_TRY(const RawService raw, read_service(bytes));
  if (raw.mark) return std::optional<ServiceAnswer>();
  const auto protocol = known_protocol(raw.protocol);
  if (!protocol && raw.protocol) return std::optional<ServiceAnswer>();
  const bool ipv6 = raw.family == AF_INET6;
  const auto ip = address_from(raw.address, ipv6);
  ip_vs_flags flags;
  if (!protocol || !ip || !raw.port || !raw.family || raw.scheduler.empty() ||
      raw.scheduler.size() > max_scheduler_size || raw.flags.size() != sizeof flags) {
    return fail("IPVS service without protocol, address, port, scheduler or flags");
  }
  std::memcpy(&flags, raw.flags.data(), sizeof flags);
  ServiceAnswer answer;
  answer.key = {*ip, *protocol, ntohs(*raw.port)};
  answer.settings.scheduler = raw.scheduler;
  answer.settings.by_source_port = (flags.flags & IP_VS_SVC_F_SCHED2) != 0;
  if ((flags.flags & IP_VS_SVC_F_PERSISTENT) != 0) {
    answer.settings.timeout_s = raw.timeout.value_or(0);
  }
  return std::optional(std::move(answer));
}

Result<DestinationAnswer> parse_destination(std::string_view attributes, bool ipv6) {
  FL_TRY(const std::string_view bytes, find_nested(attributes, IPVS_CMD_ATTR_DEST));
  std::string_view address;
  std::optional<uint16_t> port, family;
  std::optional<uint32_t> weight, forwarding, active, inactive;
  NetlinkReader reader(bytes);
  for (;;) {
    FL_TRY(const auto attribute, reader.next());
    if (!attribute) break;
    if (attribute->type == IPVS_DEST_ATTR_ADDR) address = attribute->payload;
    if (attribute->type == IPVS_DEST_ATTR_PORT) port = attribute->u16();
    if (attribute->type == IPVS_DEST_ATTR_ADDR_FAMILY) family = attribute->u16();
    if (attribute->type == IPVS_DEST_ATTR_WEIGHT) weight = attribute->u32();
    if (attribute->type == IPVS_DEST_ATTR_FWD_METHOD) forwarding = attribute->u32();
    if (attribute->type == IPVS_DEST_ATTR_ACTIVE_CONNS) active = attribute->u32();
    if (attribute->type == IPVS_DEST_ATTR_INACT_CONNS) inactive = attribute->u32();
  }
  const auto ip = address_from(address, family ? *family == AF_INET6 : ipv6);
  if (!ip || !port || !weight || !forwarding) {
    return fail("IPVS destination without address, port, weight or forwarding");
  }
  DestinationAnswer answer;
  answer.address = {*ip, ntohs(*port)};
  answer.destination = {*weight, *forwarding & IP_VS_CONN_F_FWD_MASK, active.value_or(0),
                        inactive.value_or(0)};
  return answer;
}

}  // namespace fairlead::dataplane::ipvs
