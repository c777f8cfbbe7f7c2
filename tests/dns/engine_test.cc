// What cases/*.txt cannot say: flags, malformed requests, sizes, metrics, the log.
#include "dns/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "harness.h"

namespace fairlead::dns::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view plain_corefile = ". {\n kubernetes cluster.local in-addr.arpa\n}\n";
constexpr std::string_view forwarding_corefile =
    ". {\n errors\n kubernetes cluster.local\n forward . 192.0.2.1 192.0.2.2 {\n"
    "  policy sequential\n  max_concurrent 2\n }\n}\n";

std::string big_cluster(int endpoints) {
  std::string out = R"(apiVersion: v1
kind: Service
metadata: {name: big, namespace: default}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: big-1, namespace: default, labels: {kubernetes.io/service-name: big}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints:
)";
  for (int i = 0; i < endpoints; ++i) {
    out += cat("- {addresses: [\"10.1.", i / 250, '.', i % 250 + 1, "\"]}\n");
  }
  return out;
}

TEST(Engine, LargeAnswersAreCutForUdpAndWholeOverTcp) {
  Harness harness(plain_corefile);
  harness.publish(big_cluster(300));
  struct Case {
    bool edns;
    uint16_t bytes;
    size_t limit;
  };
  for (const Case& c : {Case{false, 0, 512}, Case{true, 512, 512}, Case{true, 900, 900},
                        Case{true, 1232, 1232}, Case{true, 65535, 1232}}) {
    for (const uint16_t type : {type::a, type::srv}) {
      const std::string wire = harness.exchange(
          ask("big.default.svc.cluster.local.", type, {.edns = c.edns, .udp_bytes = c.bytes}));
      EXPECT_LE(wire.size(), c.limit);
      const Reply reply = read_reply(wire);
      EXPECT_THAT(reply.flags, HasSubstr("tc"));
      EXPECT_GT(reply.answer.size(), 1u);  // as much as fits is useful to old resolvers
      EXPECT_EQ(reply.edns, c.edns);
    }
  }
  const Reply whole = harness.query("big.default.svc.cluster.local.", "A", {}, true);
  EXPECT_THAT(whole.flags, Not(HasSubstr("tc")));
  EXPECT_EQ(whole.answer.size(), 300u);
  const Reply srv = harness.query("big.default.svc.cluster.local.", "SRV", {}, true);
  EXPECT_EQ(srv.answer.size(), 300u);
  EXPECT_EQ(srv.additional.size(), 300u);
}

TEST(Engine, WhatExceedsTcpIsTruncatedToo) {
  Harness harness(plain_corefile);
  harness.publish(big_cluster(5000));
  const std::string wire = harness.exchange(ask("big.default.svc.cluster.local.", type::a), true);
  EXPECT_LE(wire.size(), max_message_bytes);
  EXPECT_THAT(read_reply(wire).flags, HasSubstr("tc"));
}

TEST(Engine, HeadlessAddressesRotateWithTheQuery) {
  Harness harness(plain_corefile);
  harness.publish(big_cluster(3));
  std::set<std::string> first;
  for (uint16_t id = 0; id < 3; ++id) {
    const Reply reply = harness.query("big.default.svc.cluster.local.", "A", {.id = id});
    ASSERT_EQ(reply.answer.size(), 3u);
    first.insert(reply.answer[0]);
  }
  EXPECT_EQ(first.size(), 3u);
}

TEST(Engine, FlagsOfReplies) {
  Harness alone(plain_corefile), forwarding(forwarding_corefile);
  alone.publish(big_cluster(1));
  forwarding.publish(big_cluster(1));
  const std::string name = "web.default.svc.cluster.local.";
  EXPECT_EQ(alone.query(name, "A").flags, "qr aa rd");
  EXPECT_EQ(alone.query(name, "A", {.recursion_desired = false}).flags, "qr aa");
  EXPECT_EQ(alone.query("example.org.", "A").flags, "qr rd");
  EXPECT_EQ(forwarding.query(name, "A").flags, "qr aa rd ra");
  std::string wire = ask(name, type::a);
  wire[3] = static_cast<char>(wire[3] | flag::cd | flag::ad);
  EXPECT_EQ(read_reply(alone.exchange(wire)).flags, "qr aa rd cd");
}

// RFC 8906 section 8: servers answer, whatever they are asked.
TEST(Engine, EveryRequestIsAnswered) {
  Harness harness(plain_corefile);
  harness.publish(big_cluster(1));
  const std::string name = "web.default.svc.cluster.local.";
  struct Case {
    std::string_view what;
    AskOptions options;
    uint16_t type;
    std::string_view rcode;
    bool edns;
  };
  using Options = AskOptions;
  const std::vector<Case> cases = {
      {"8.1.1 plain", Options{.recursion_desired = false}, type::soa, "NOERROR", false},
      {"8.1.2 unknown type", Options{.recursion_desired = false}, 1000, "NOERROR", false},
      {"8.1.4 unknown opcode", Options{.opcode = 15, .recursion_desired = false}, type::soa,
       "NOTIMP", false},
      {"8.2.1 EDNS", Options{.edns = true}, type::soa, "NOERROR", true},
      {"8.2.2 EDNS version 1", Options{.edns = true, .version = 1}, type::soa, "BADVERS", true},
      {"8.2.3 unknown option", Options{.edns = true, .options = unhex("fdff 0001 00")}, type::soa,
       "NOERROR", true},
      {"8.2.5 version 1, unknown option",
       Options{.edns = true, .version = 1, .options = unhex("fdff 0000")}, type::soa, "BADVERS",
       true},
      {"8.2.6 DO", Options{.edns = true, .dnssec_ok = true}, type::soa, "NOERROR", true},
      {"8.2.7 version 1 and DO", Options{.edns = true, .version = 1, .dnssec_ok = true}, type::soa,
       "BADVERS", true},
      {"8.2.8 several options",
       Options{.edns = true,
               .options = unhex("0003 0000 0008 0004 00010000 000a 0008 0102030405060708")},
       type::soa, "NOERROR", true},
      {"class CH", Options{.klass = 3}, type::txt, "REFUSED", false},
      {"class ANY", Options{.klass = 255}, type::a, "REFUSED", false},
      {"opcode 1", Options{.opcode = 1}, type::a, "NOTIMP", false},
      {"opcode NOTIFY", Options{.opcode = 4}, type::soa, "NOTIMP", false},
      {"opcode UPDATE", Options{.opcode = 5}, type::soa, "NOTIMP", false},
  };
  for (const auto& c : cases) {
    for (const bool tcp : {false, true}) {
      const std::string wire = harness.exchange(ask(name, c.type, c.options), tcp);
      ASSERT_FALSE(wire.empty()) << c.what;
      const Reply reply = read_reply(wire);
      EXPECT_EQ(reply.rcode, c.rcode) << c.what;
      EXPECT_EQ(reply.edns, c.edns) << c.what;
      EXPECT_EQ(reply.dnssec_ok, c.options.dnssec_ok) << c.what;
      EXPECT_EQ(static_cast<uint8_t>(wire[2]) >> 3 & 15, c.options.opcode) << c.what;
    }
  }
}

TEST(Engine, MalformedRequestsGetFormErrOrNothing) {
  Harness harness(plain_corefile);
  const std::string good = ask("web.default.svc.cluster.local.", type::a, {.id = 77});
  EXPECT_EQ(harness.exchange(good.substr(0, 11)), "");
  EXPECT_EQ(harness.exchange(""), "");
  std::string response = good;
  response[2] = static_cast<char>(response[2] | 0x80);
  EXPECT_EQ(harness.exchange(response), "");
  for (size_t size = 12; size < good.size(); ++size) {
    const Reply reply = read_reply(harness.exchange(good.substr(0, size)));
    EXPECT_EQ(reply.rcode, "FORMERR") << size;
    EXPECT_EQ(reply.question, "") << size;
  }
  const Reply trailing = read_reply(harness.exchange(good + "x"));
  EXPECT_EQ(trailing.rcode, "FORMERR");
  EXPECT_EQ(trailing.question, "web.default.svc.cluster.local. A");
}

TEST(Engine, UpstreamsAreTriedInTurn) {
  Harness harness(forwarding_corefile);
  harness.internet().records = {"www.example.org. 60 A 203.0.113.1"};
  harness.internet().silent = {"gone.example.org."};
  EXPECT_EQ(harness.query("www.example.org.", "A").rcode, "NOERROR");
  EXPECT_EQ(harness.internet().queries.size(), 1u);
  EXPECT_EQ(harness.query("gone.example.org.", "A").rcode, "SERVFAIL");
  EXPECT_EQ(harness.internet().queries[1], "192.0.2.1:53 gone.example.org. A");
  EXPECT_EQ(harness.internet().queries[2], "192.0.2.2:53 gone.example.org. A");
  ASSERT_EQ(harness.errors().get().size(), 1u);
  EXPECT_THAT(harness.errors().get()[0],
              HasSubstr("SERVFAIL gone.example.org. A: no answer from any upstream: "
                        "192.0.2.1:53: timed out; 192.0.2.2:53: timed out"));
  EXPECT_THAT(harness.log_text(), HasSubstr("SERVFAIL gone.example.org. A"));
}

TEST(Engine, ForwardedAnswersAreCutToTheClientsSize) {
  Harness harness(forwarding_corefile);
  for (int i = 0; i < 60; ++i) {
    harness.internet().records.push_back(cat("many.example.org. 60 A 203.0.113.", i));
  }
  const std::string small = harness.exchange(ask("many.example.org.", type::a));
  EXPECT_LE(small.size(), 512u);
  EXPECT_THAT(read_reply(small).flags, HasSubstr("tc"));
  EXPECT_EQ(read_reply(small).question, "many.example.org. A");
  const Reply whole = harness.query("many.example.org.", "A", {}, true);
  EXPECT_EQ(whole.answer.size(), 60u);
}

TEST(Engine, ForwardedRequestsAskForNoMoreThanOurOwnSize) {
  Harness harness(forwarding_corefile);
  harness.internet().records = {"www.example.org. 60 A 203.0.113.1"};
  const Reply reply = harness.query("WWW.Example.org.", "A", {.id = 4711, .edns = true});
  EXPECT_EQ(reply.rcode, "NOERROR");
  EXPECT_EQ(reply.question, "WWW.Example.org. A");
}

TEST(Engine, CountsRequestsAndResponses) {
  Harness harness(forwarding_corefile);
  harness.publish(big_cluster(2));
  harness.internet().records = {"www.example.org. 60 A 203.0.113.1"};
  harness.query("web.default.svc.cluster.local.", "A");
  harness.query("web.default.svc.cluster.local.", "AAAA", {.edns = true, .dnssec_ok = true});
  harness.query("none.default.svc.cluster.local.", "TYPE1000", {}, true);
  harness.query("www.example.org.", "A");
  harness.exchange("short");
  harness.exchange(ask("x.", type::a, {.opcode = 2}));
  harness.metrics().collect();
  harness.query("web.default.svc.cluster.local.", "A");
  harness.metrics().collect();
  EXPECT_EQ(harness.metrics().queries(), 6u);
  const std::string text = harness.registry().text();
  for (const std::string_view line :
       {"coredns_dns_requests_total{server=\"dns://:53\",zone=\".\",view=\"\",proto=\"udp\","
        "family=\"1\",type=\"A\"} 3\n",
        "proto=\"udp\",family=\"1\",type=\"AAAA\"} 1\n",
        "proto=\"tcp\",family=\"1\",type=\"other\"} 1\n",
        "coredns_dns_responses_total{server=\"dns://:53\",zone=\".\",view=\"\",rcode=\"NOERROR\","
        "plugin=\"kubernetes\"} 3\n",
        "rcode=\"NXDOMAIN\",plugin=\"kubernetes\"} 1\n",
        "rcode=\"NOERROR\",plugin=\"forward\"} 1\n",
        "coredns_dns_responses_total{server=\"dns://:53\",zone=\"dropped\",view=\"\","
        "rcode=\"NOTIMP\",plugin=\"\"} 1\n",
        "coredns_dns_do_requests_total{server=\"dns://:53\",zone=\".\",view=\"\"} 1\n",
        "coredns_dns_request_duration_seconds_count{server=\"dns://:53\",zone=\".\",view=\"\"} 5\n",
        "coredns_dns_request_size_bytes_count{server=\"dns://:53\",zone=\".\",view=\"\","
        "proto=\"udp\"} 4\n",
        "fairlead_dns_dropped_packets_total 1\n",
        "coredns_plugin_enabled{server=\"dns://:53\",zone=\".\",view=\"\",name=\"forward\"} 1\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Engine, LogsTheClassesThatAreAskedFor) {
  Harness harness(R"(. {
    log example.org "org {name} {rcode}"
    log cluster.local "{remote}:{port} {>id} {type} {class} {name} {proto} {>do} {>bufsize} {rcode} {>rflags}" {
        class denial
    }
    kubernetes cluster.local
    forward . 192.0.2.1
})");
  harness.publish(big_cluster(1));
  harness.query("web.default.svc.cluster.local.", "A");
  harness.query("None.default.svc.cluster.local.", "A", {.id = 99});
  harness.query("web.default.svc.cluster.local.", "AAAA", {.id = 100, .edns = true});
  harness.query("www.example.org.", "A");
  harness.query("www.example.net.", "A");
  const std::string text = harness.log_text();
  EXPECT_THAT(text, Not(HasSubstr("web.default.svc.cluster.local. udp false 512 NOERROR")));
  EXPECT_THAT(text, HasSubstr("10.9.8.7:40000 99 A IN None.default.svc.cluster.local. udp false "
                              "512 NXDOMAIN qr,aa,rd,ra"));
  EXPECT_THAT(text, HasSubstr("100 AAAA IN web.default.svc.cluster.local. udp false 1232 NOERROR"));
  EXPECT_THAT(text, HasSubstr("org www.example.org. NXDOMAIN"));
  EXPECT_THAT(text, Not(HasSubstr("example.net")));
}

TEST(Engine, TheDefaultLogLineIsCoreDnss) {
  Harness harness(". {\n log\n kubernetes cluster.local\n}\n");
  harness.publish(big_cluster(1));
  harness.query("web.default.svc.cluster.local.", "A", {.id = 5});
  EXPECT_THAT(harness.log_text(),
              HasSubstr("10.9.8.7:40000 - 5 \"A IN web.default.svc.cluster.local. udp 47 false "
                        "512\" NOERROR qr,aa,rd 63 0.0"));
}

}  // namespace
}  // namespace fairlead::dns::testing
