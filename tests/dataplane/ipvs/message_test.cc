#include "dataplane/ipvs/message.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/ip_vs.h>

#include "base/text.h"
#include "net/netlink_generic.h"

namespace fairlead::dataplane::ipvs {
namespace {

using net::NetlinkWriter;

TEST(IpvsMessage, TimeoutsAreThreeNumbers) {
  NetlinkWriter wanted;
  wanted.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP, 60);
  wanted.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, 0);
  wanted.put_u32(IPVS_CMD_ATTR_TIMEOUT_UDP, 30);
  EXPECT_EQ(encode_timeouts({.tcp = 60, .udp = 30}), wanted.bytes());
}

// What we send has the form of what the kernel answers.
TEST(IpvsMessage, ServicesComeBackAsTheyWent) {
  const std::pair<ServiceKey, Settings> cases[] = {
      {{*Ip::parse("10.96.0.1"), Protocol::tcp, 80}, {"rr", false, 0}},
      {{*Ip::parse("10.96.0.1"), Protocol::udp, 53}, {"mh", true, 10800}},
      {{*Ip::parse("fd96::1"), Protocol::sctp, 65535}, {"lblcr", false, 1}},
      {{*Ip::parse("::ffff:0:1"), Protocol::tcp, 1}, {"ovf", false, 86400}},
  };
  for (const auto& [key, settings] : cases) {
    const auto answer = parse_service(encode_service(key, settings));
    ASSERT_TRUE(answer) << answer.error().message;
    ASSERT_TRUE(*answer);
    EXPECT_EQ((*answer)->key, key);
    EXPECT_EQ((*answer)->settings, settings);
  }
}

TEST(IpvsMessage, DestinationsComeBackAsTheyWent) {
  const ServiceKey key{*Ip::parse("10.96.0.1"), Protocol::tcp, 80};
  for (const std::string_view address : {"10.1.0.5:8080", "[fd00::5]:1"}) {
    for (const uint32_t weight : {0u, 1u, 65535u}) {
      const auto to = *SocketAddress::parse(address);
      const auto answer =
          parse_destination(encode_destination(key, to, {.weight = weight}), !to.ip.is_v4());
      ASSERT_TRUE(answer) << answer.error().message;
      EXPECT_EQ(answer->address, to);
      EXPECT_EQ(answer->destination, Destination{.weight = weight});
    }
  }
}

std::string service_with(uint16_t type, std::string_view payload) {
  NetlinkWriter inside;
  inside.put(type, payload);
  NetlinkWriter out;
  out.put(IPVS_CMD_ATTR_SERVICE, inside.bytes());
  return out.bytes();
}

TEST(IpvsMessage, ServicesThatCannotBeOursAreNone) {
  const auto by_mark = parse_service(service_with(IPVS_SVC_ATTR_FWMARK, std::string(4, '\1')));
  ASSERT_TRUE(by_mark);
  EXPECT_FALSE(*by_mark);
  const auto icmp = parse_service(service_with(IPVS_SVC_ATTR_PROTOCOL, std::string("\1\0", 2)));
  ASSERT_TRUE(icmp);
  EXPECT_FALSE(*icmp);
}

// The attributes of a service, or of a destination, with one of them left out or replaced.
std::string changed(uint16_t outer, const std::string& whole, uint16_t type,
                    std::optional<std::string_view> payload) {
  net::NetlinkReader envelope(whole);
  std::string_view inside;
  while (const auto attribute = *envelope.next()) {
    if (attribute->type == outer) inside = attribute->payload;
  }
  NetlinkWriter out;
  net::NetlinkReader reader(inside);
  while (const auto attribute = *reader.next()) {
    if (attribute->type != type) {
      out.put(attribute->type, attribute->payload);
    } else if (payload) {
      out.put(type, *payload);
    }
  }
  NetlinkWriter again;
  again.put(outer, out.bytes());
  return again.bytes();
}

TEST(IpvsMessage, EveryPartOfAServiceIsNeededAndHasItsSize) {
  const std::string long_name(40, 'x');
  const std::string whole =
      encode_service({*Ip::parse("fd96::1"), Protocol::tcp, 80}, {"rr", false, 60});
  const std::pair<uint16_t, std::vector<std::string_view>> bad[] = {
      {IPVS_SVC_ATTR_AF, {"", "x", "xxxx"}},
      {IPVS_SVC_ATTR_PROTOCOL, {"", "x"}},
      {IPVS_SVC_ATTR_ADDR, {"", "abcd", "15 bytes are no"}},
      {IPVS_SVC_ATTR_PORT, {"", "xxxx"}},
      {IPVS_SVC_ATTR_SCHED_NAME, {"", long_name}},
      {IPVS_SVC_ATTR_FLAGS, {"", "seven b", "nine byte"}},
  };
  const auto parse = [&](uint16_t type, std::optional<std::string_view> payload) {
    return parse_service(changed(IPVS_CMD_ATTR_SERVICE, whole, type, payload));
  };
  for (const auto& [type, payloads] : bad) {
    EXPECT_FALSE(parse(type, std::nullopt)) << "without " << type;
    for (const std::string_view payload : payloads) {
      EXPECT_FALSE(parse(type, payload)) << type << " of " << payload.size();
    }
  }
  // A persistent service of which the kernel does not say for how long is none.
  EXPECT_EQ((*parse(IPVS_SVC_ATTR_TIMEOUT, std::nullopt))->settings.timeout_s, 0u);
  // Who counts as one client may be anything.
  EXPECT_TRUE(parse(IPVS_SVC_ATTR_NETMASK, std::nullopt));
}

TEST(IpvsMessage, EveryPartOfADestinationIsNeededAndHasItsSize) {
  const ServiceKey key{*Ip::parse("fd96::1"), Protocol::tcp, 80};
  const std::string whole = encode_destination(key, {*Ip::parse("fd00::1"), 8080}, {});
  const auto parse = [&](uint16_t type, std::optional<std::string_view> payload) {
    return parse_destination(changed(IPVS_CMD_ATTR_DEST, whole, type, payload), true);
  };
  for (const uint16_t type : {IPVS_DEST_ATTR_ADDR, IPVS_DEST_ATTR_PORT, IPVS_DEST_ATTR_WEIGHT,
                              IPVS_DEST_ATTR_FWD_METHOD}) {
    EXPECT_FALSE(parse(type, std::nullopt)) << "without " << type;
    EXPECT_FALSE(parse(type, "x")) << type;
  }
  // Kernels before 4.4 do not say the family: it is the service's.
  EXPECT_EQ(parse(IPVS_DEST_ATTR_ADDR_FAMILY, std::nullopt)->address.ip, *Ip::parse("fd00::1"));
  EXPECT_EQ(parse(IPVS_DEST_ATTR_U_THRESH, std::nullopt)->destination, Destination());
}

TEST(IpvsMessage, WhatIsCutOffIsAnError) {
  const ServiceKey key{*Ip::parse("10.96.0.1"), Protocol::tcp, 80};
  const std::string whole = encode_service(key, {});
  const std::string destination =
      encode_destination(key, {*Ip::parse("10.1.0.1"), 80}, {}).substr(encode_key(key).size());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse_service(std::string_view(whole).substr(0, size))) << size;
  }
  for (size_t size = 0; size < destination.size(); ++size) {
    EXPECT_FALSE(parse_destination(std::string_view(destination).substr(0, size), false)) << size;
  }
}

TEST(IpvsMessage, EveryByteMayBeAnything) {
  const ServiceKey key{*Ip::parse("fd96::1"), Protocol::tcp, 80};
  const std::string whole = encode_destination(key, {*Ip::parse("fd00::1"), 80}, {});
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int value : {0, 1, 4, 127, 255}) {
      std::string odd = whole;
      odd[at] = static_cast<char>(value);
      (void)parse_service(odd);
      (void)parse_destination(odd, true);
    }
  }
}

TEST(IpvsMessage, LinesAreThoseOfIpvsadm) {
  const ServiceKey udp{*Ip::parse("fd96::1"), Protocol::udp, 53};
  EXPECT_EQ(service_line(udp, {"mh", true, 300}), "-A -u [fd96::1]:53 -s mh -p 300 -b mh-port");
  EXPECT_EQ(destination_line(udp, {*Ip::parse("fd00::1"), 53}, {.weight = 0, .forwarding = 3}),
            "-a -u [fd96::1]:53 -r [fd00::1]:53 -g -w 0");
}

}  // namespace
}  // namespace fairlead::dataplane::ipvs
