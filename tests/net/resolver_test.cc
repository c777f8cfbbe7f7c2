#include "net/resolver.h"

#include <map>

#include "tests/net/fake_dns.h"

namespace fairlead::net {
namespace {

using std::chrono::milliseconds;

using Rig = ResolverRig;

TEST(ResolverNames, TableOfAnswers) {
  const std::pair<std::string, std::string> table[] = {
      {"one.test", "10.0.0.7 10.0.0.8"},
      {"both.test", "10.0.0.7 10.0.0.8 ::9"},
      {"ONE.TEST", "10.0.0.7 10.0.0.8"},
      {"one.test.", "10.0.0.7 10.0.0.8"},
      {"192.0.2.5", "192.0.2.5"},
      {"fd00::5", "fd00::5"},
      {"missing.test", "cannot resolve \"missing.test\": Domain name not found"},
      {"broken.test", "cannot resolve \"broken.test\": "},
      {"silent.test", "cannot resolve \"silent.test\": Timeout while contacting DNS servers"},
      {"", "cannot resolve \"\": not a host name"},
      {std::string(300, 'n'), "\": not a host name"},
      {"two words", "cannot resolve \"two words\": not a host name"},
  };
  for (const auto& [host, expected] : table) {
    SCOPED_TRACE(host);
    Rig rig(patience_for(host));
    const std::string got = rig.resolve(host);
    EXPECT_NE(got.find(expected), std::string::npos) << got;
  }
}

TEST(ResolverNames, LocalhostNeedsNoServer) {
  Rig rig;
  const std::string got = rig.resolve("localhost");
  EXPECT_NE(got.find("127.0.0.1"), std::string::npos) << got;
  EXPECT_EQ(rig.dns.udp_queries, 0);
}

TEST(ResolverNames, TcpOnly) {
  Rig rig({.force_tcp = true});
  EXPECT_EQ(rig.resolve("one.test"), "10.0.0.7 10.0.0.8");
  EXPECT_EQ(rig.dns.udp_queries, 0);
  EXPECT_GT(rig.dns.tcp_queries, 0);
}

TEST(ResolverRaw, AnswersComeAsTheyAre) {
  struct Row {
    std::string name;
    int rcode;
    size_t answers;
  };
  const Row table[] = {{"one.test", 0, 2},
                       {"missing.test", 3, 0},
                       {"broken.test", 2, 0},
                       {"refused.test", 5, 0},
                       {"large.test", 0, 60}};
  for (const Row& row : table) {
    SCOPED_TRACE(row.name);
    Rig rig;
    const auto got = rig.ask(query(0x1234, row.name, 1));
    ASSERT_TRUE(got.has_value()) << got.error().message;
    EXPECT_EQ(u16_at(*got, 0), 0x1234u) << "the caller's id";
    EXPECT_EQ((*got)[3] & 0x0f, row.rcode);
    EXPECT_EQ(u16_at(*got, 6), row.answers);
    EXPECT_EQ(rig.dns.udp_queries, 1);
    EXPECT_EQ(rig.dns.tcp_queries, 0);
  }
}

TEST(ResolverRaw, TruncatedAnswersAreAskedForOverTcp) {
  Rig rig;
  const auto got = rig.ask(query(7, "cut.test", 1));
  ASSERT_TRUE(got.has_value()) << got.error().message;
  EXPECT_EQ(u16_at(*got, 0), 7u);
  EXPECT_EQ(u16_at(*got, 6), 3000u);
  EXPECT_GT(got->size(), 48'000u);
  EXPECT_EQ(rig.dns.udp_queries, 1);
  EXPECT_EQ(rig.dns.tcp_queries, 1);
}

TEST(ResolverRaw, TcpOnlyKeepsItsConnection) {
  Rig rig({.force_tcp = true});
  for (size_t i = 0; i < 5; ++i) {
    const auto got = rig.ask(query(i, "one.test", 1));
    ASSERT_TRUE(got.has_value()) << got.error().message;
    EXPECT_EQ(u16_at(*got, 0), i);
  }
  EXPECT_EQ(rig.dns.udp_queries, 0);
  EXPECT_EQ(rig.dns.tcp_queries, 5);
}

TEST(ResolverRaw, UselessAnswersAreNoAnswers) {
  for (const std::string name : {"silent.test", "garbage.test", "otherid.test"}) {
    SCOPED_TRACE(name);
    Rig rig(patience_for(name));
    const auto got = rig.ask(query(9, name, 1));
    ASSERT_FALSE(got.has_value());
    EXPECT_NE(got.error().message.find("no answer from the upstream DNS servers: "),
              std::string::npos)
        << got.error().message;
    EXPECT_GE(rig.dns.udp_queries, 1);
  }
}

TEST(ResolverRaw, IdsOnTheWireAreRandom) {
  Rig rig;
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(rig.ask(query(1, "one.test", 1)).has_value());
  EXPECT_GE(rig.dns.ids.size(), 7u);
}

TEST(ResolverRaw, ManyAtOnceFindTheirOwners) {
  // A busy machine must not turn this into a test of time-outs, nor 100 fill a socket buffer.
  Rig rig({.timeout = std::chrono::seconds(5), .tries = 3});
  std::map<size_t, size_t> got;
  for (size_t i = 0; i < 100; ++i) {
    rig.resolver->query_raw(query(i, cat("n", i, ".test"), 1), [&, i](Result<std::string> answer) {
      ASSERT_TRUE(answer.has_value());
      got[i] = u16_at(*answer, 0);
      EXPECT_NE(answer->find(cat("n", i)), std::string::npos);
    });
  }
  ASSERT_TRUE(rig.run_until([&] { return got.size() == 100; }));
  for (const auto& [i, id] : got) EXPECT_EQ(i, id);
}

TEST(ResolverRaw, BadMessagesAndServersAreErrors) {
  Rig rig;
  EXPECT_NE(rig.ask("short").error().message.find("12 to 65535 bytes, this one 5"),
            std::string::npos);
  EXPECT_FALSE(rig.ask(std::string(70'000, 'x')).has_value());
  EventLoop loop;
  const Fd nobody = bind_udp(*SocketAddress::parse("127.0.0.1:0")).value();
  SocketAddress closed = local_address(nobody.get()).value();
  const_cast<Fd&>(nobody).reset();
  Resolver resolver(loop, {.servers = {closed}, .timeout = milliseconds(50), .tries = 1});
  bool failed = false;
  resolver.query_raw(query(1, "one.test", 1),
                     [&](Result<std::string> answer) { failed = !answer.has_value(); });
  for (int i = 0; i < 200 && !failed; ++i) loop.run_once(milliseconds(5));
  EXPECT_TRUE(failed);
}

TEST(ResolverRaw, AnotherServerIsTriedWhenOneIsSilent) {
  EventLoop loop;
  FakeDns dns(loop);
  const Fd silent = bind_udp(*SocketAddress::parse("127.0.0.1:0")).value();
  Resolver resolver(loop, {.servers = {local_address(silent.get()).value(), dns.address},
                           .timeout = milliseconds(30),
                           .tries = 2});
  bool ok = false;
  resolver.query_raw(query(1, "one.test", 1),
                     [&](Result<std::string> answer) { ok = answer.has_value(); });
  for (int i = 0; i < 200 && !ok; ++i) loop.run_once(milliseconds(5));
  EXPECT_TRUE(ok);
}

TEST(ResolverLifetime, DestructionDropsWhatIsPending) {
  Rig rig;
  int calls = 0;
  rig.resolver->resolve("silent.test", [&](Result<std::vector<Ip>>) { ++calls; });
  rig.resolver->resolve("10.0.0.1", [&](Result<std::vector<Ip>>) { ++calls; });
  rig.resolver->query_raw(query(1, "silent.test", 1), [&](Result<std::string>) { ++calls; });
  rig.resolver->query_raw("bad", [&](Result<std::string>) { ++calls; });
  rig.loop.run_once(milliseconds(0));
  const int before = calls;
  rig.resolver.reset();
  for (int i = 0; i < 30; ++i) rig.loop.run_once(milliseconds(5));
  EXPECT_EQ(calls, before);
}

TEST(ResolverLifetime, DestructionInsideACallback) {
  for (const std::string name : {"10.0.0.1", "one.test", "missing.test", "silent.test"}) {
    SCOPED_TRACE(name);
    Rig rig(patience_for(name));
    int calls = 0;
    for (int i = 0; i < 3; ++i) {
      rig.resolver->resolve(name, [&](Result<std::vector<Ip>>) {
        ++calls;
        rig.resolver.reset();
      });
    }
    rig.run_until([&] { return calls > 0; });
    for (int i = 0; i < 5; ++i) rig.loop.run_once(milliseconds(5));
    EXPECT_EQ(calls, 1);
  }
}

}  // namespace
}  // namespace fairlead::net
