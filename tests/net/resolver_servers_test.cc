// Upstream servers of either family, and what they do with their connections.
#include "tests/net/fake_dns.h"

namespace fairlead::net {
namespace {

bool has_ipv6() { return bind_udp({*Ip::parse("::1"), 0}).has_value(); }

TEST(ResolverServers, MayHaveAddressesOfEitherFamily) {
  for (const std::string_view host : {"127.0.0.1", "::1"}) {
    if (host == "::1" && !has_ipv6()) continue;
    for (const bool tcp : {false, true}) {
      SCOPED_TRACE(cat(host, tcp ? " over TCP" : ""));
      ResolverRig rig({.timeout = std::chrono::seconds(3), .force_tcp = tcp}, host);
      EXPECT_EQ(rig.resolve("one.test"), "10.0.0.7 10.0.0.8");
      const auto got = rig.ask(query(7, "cut.test", 1));
      ASSERT_TRUE(got.has_value()) << got.error().message;
      EXPECT_EQ(u16_at(*got, 6), 3000u);
      EXPECT_EQ(rig.dns.udp_queries > 0, !tcp);
    }
  }
}

// RFC 7766 6.2.3: a server may end an idle connection whenever it likes.
TEST(ResolverServers, OneThatClosesItsConnectionIsAskedOverANewOne) {
  for (const int turns_between : {0, 20}) {
    SCOPED_TRACE(turns_between);
    ResolverRig rig({.timeout = std::chrono::seconds(3), .force_tcp = true});
    rig.dns.closes_after_answer = true;
    for (size_t i = 0; i < 5; ++i) {
      const auto got = rig.ask(query(i, "one.test", 1));
      ASSERT_TRUE(got.has_value()) << got.error().message;
      EXPECT_EQ(u16_at(*got, 0), i);
      for (int turn = 0; turn < turns_between; ++turn) rig.loop.run_once(Duration::zero());
    }
    EXPECT_EQ(rig.dns.tcp_queries, 5);
  }
}

TEST(ResolverServers, UdpAndTcpOfOneAreAskedAtTheSameTime) {
  ResolverRig rig({.timeout = std::chrono::seconds(3)});
  std::vector<std::string> answers(20);
  for (size_t i = 0; i < answers.size(); ++i) {
    const std::string_view name = i % 2 == 0 ? "one.test" : "cut.test";
    rig.resolver->query_raw(query(i, name, 1), [&, i](Result<std::string> answer) {
      ASSERT_TRUE(answer.has_value()) << answer.error().message;
      answers[i] = *std::move(answer);
    });
  }
  ASSERT_TRUE(rig.run_until(
      [&] { return std::ranges::none_of(answers, [](const auto& a) { return a.empty(); }); }));
  for (size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(u16_at(answers[i], 0), i);
    EXPECT_EQ(u16_at(answers[i], 6), i % 2 == 0 ? 2u : 3000u);
  }
  EXPECT_EQ(rig.dns.udp_queries, 20);
  EXPECT_EQ(rig.dns.tcp_queries, 10);
}

}  // namespace
}  // namespace fairlead::net
