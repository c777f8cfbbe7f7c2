// What verify() says about IPVS and the interface: what shall be, what is, and what is said of it.
#include "dataplane/ipvs/drifts.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::dataplane::ipvs {
namespace {

const ServiceKey web{*Ip::parse("10.96.0.1"), Protocol::tcp, 80};
const ServiceKey dns{*Ip::parse("fd96::a"), Protocol::udp, 53};
const SocketAddress one{*Ip::parse("10.0.0.1"), 8080}, two{*Ip::parse("fd00::2"), 53};

Claim claim(std::vector<SocketAddress> backends, Settings settings = {}) {
  Claim out;
  out.settings = std::move(settings);
  out.backends = std::move(backends);
  return out;
}

std::string text(const std::vector<Drift>& drifts) {
  std::string out;
  for (const Drift& drift : drifts) {
    EXPECT_FALSE(drift.repaired);
    append(out, cat(drift.what, " (", drift.owner, ")\n"));
  }
  return out;
}

TEST(IpvsDrifts, AreNamedForEachService) {
  struct Case {
    std::string name;
    std::map<ServiceKey, Claim> claims;
    Services held;
    std::set<ServiceKey> ours;
    std::string said;
  };
  const Destination leaving{.weight = 0, .active = 3}, by_route{.weight = 1, .forwarding = 3};
  const Case cases[] = {
      {"as it should be", {{web, claim({one})}}, {{web, {{}, {{one, {}}}}}}, {web}, ""},
      {"nothing at all", {}, {}, {}, ""},
      {"counts are no drift",
       {{web, claim({one})}},
       {{web, {{}, {{one, {.active = 5, .inactive = 9}}}}}},
       {web},
       ""},
      {"missing",
       {{web, claim({one})}, {dns, claim({two})}},
       {{web, {{}, {{one, {}}}}}},
       {web},
       "IPVS service [fd96::a]:53/UDP is missing (another user of ipvsadm)\n"},
      {"other settings",
       {{web, claim({}, {"wlc", false, 60})}},
       {{web, {{"wlc", false, 61}, {}}}},
       {web},
       "IPVS service 10.96.0.1:80/TCP has other settings (another user of ipvsadm)\n"},
      {"a destination is missing",
       {{dns, claim({two})}},
       {{dns, {}}},
       {dns},
       "destination [fd00::2]:53 of [fd96::a]:53/UDP is missing (another user of ipvsadm)\n"},
      {"a destination takes nothing new",
       {{web, claim({one})}},
       {{web, {{}, {{one, leaving}}}}},
       {web},
       "destination 10.0.0.1:8080 of 10.96.0.1:80/TCP is changed (another user of ipvsadm)\n"},
      {"a destination by direct routing",
       {{web, claim({one})}},
       {{web, {{}, {{one, by_route}}}}},
       {web},
       "destination 10.0.0.1:8080 of 10.96.0.1:80/TCP is changed (another user of ipvsadm)\n"},
      {"a stranger among the destinations",
       {{web, claim({})}},
       {{web, {{}, {{one, {}}}}}},
       {web},
       "destination 10.0.0.1:8080 of 10.96.0.1:80/TCP is not in the table (another user of "
       "ipvsadm)\n"},
      {"one that leaves", {{web, claim({})}}, {{web, {{}, {{one, leaving}}}}}, {web}, ""},
      {"a service that ends", {}, {{web, {{}, {{one, leaving}}}}}, {web}, ""},
      {"a service that nobody wants and that takes connections",
       {},
       {{web, {{}, {{one, {}}, {two, leaving}}}}},
       {web},
       "IPVS service 10.96.0.1:80/TCP is not in the table (another user of ipvsadm)\n"},
      {"an empty service that nobody wants",
       {},
       {{web, {}}},
       {web},
       "IPVS service 10.96.0.1:80/TCP is not in the table (another user of ipvsadm)\n"},
      {"a service of others", {}, {{web, {{}, {{one, {}}}}}}, {}, ""},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(text(service_drifts(c.claims, c.held, c.ours)), c.said) << c.name;
  }
}

TEST(IpvsDrifts, AreNamedForEachAddress) {
  const Ip v4 = web.ip, v6 = dns.ip;
  EXPECT_EQ(text(address_drifts("vips", {v4, v6}, {v4, v6})), "");
  EXPECT_EQ(text(address_drifts("vips", {v4, v6}, {})),
            "address 10.96.0.1 is not on vips (another user of ip)\n"
            "address fd96::a is not on vips (another user of ip)\n");
  EXPECT_EQ(text(address_drifts("vips", {v6}, {v4, v6})),
            "address 10.96.0.1 on vips belongs to no service (another user of ip)\n");
}

}  // namespace
}  // namespace fairlead::dataplane::ipvs
