#include "dns/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace fairlead::dns {
namespace {

using ::testing::HasSubstr;

TEST(Metrics, ShardsOfSeveralWorkersAreSummed) {
  Registry registry;
  const auto corefile = parse_corefile("a.org b.org:54 {\n errors\n}\n", "Corefile");
  const Plan plan(*corefile, {});
  ASSERT_EQ(plan.slots.size(), 4u);
  Metrics metrics(registry, plan, 3);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&metrics, i] {
      for (int n = 0; n < 1000; ++n) {
        metrics.shard(i).count(1,
                               {.ipv6 = true, .type = 28, .request_bytes = 40, .reply_bytes = 600});
        metrics.shard(i).observe_duration(1, std::chrono::milliseconds(3));
      }
    });
  }
  for (int n = 0; n < 20; ++n) metrics.collect();
  for (auto& thread : threads) thread.join();
  metrics.collect();
  EXPECT_EQ(metrics.queries(), 3000u);
  const std::string text = registry.text();
  EXPECT_THAT(text, HasSubstr("zone=\"a.org.\",view=\"\",proto=\"udp\",family=\"2\","
                              "type=\"AAAA\"} 3000\n"));
  EXPECT_THAT(text, HasSubstr("coredns_dns_request_duration_seconds_bucket{server=\"dns://:53\","
                              "zone=\"a.org.\",view=\"\",le=\"0.005\"} 3000\n"));
  EXPECT_THAT(text, HasSubstr("coredns_dns_response_size_bytes_bucket{server=\"dns://:53\","
                              "zone=\"a.org.\",view=\"\",proto=\"udp\",le=\"511\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("proto=\"udp\",le=\"1023\"} 3000\n"));
}

TEST(Types, NamesAndNumbers) {
  EXPECT_EQ(type_text(28), "AAAA");
  EXPECT_EQ(type_text(65280), "TYPE65280");
  EXPECT_EQ(type_from_text("srv"), 33);
  EXPECT_EQ(type_from_text("TYPE65"), 65);
  EXPECT_EQ(type_from_text("bogus"), 0);
  EXPECT_EQ(class_text(1), "IN");
  EXPECT_EQ(class_text(7), "CLASS7");
  EXPECT_EQ(rcode_text(3), "NXDOMAIN");
  EXPECT_EQ(rcode_text(200), "BADRCODE");
  for (size_t i = 0; i + 1 < counted_types; ++i) {
    EXPECT_EQ(counted_type(type_from_text(counted_type_text(i))), i);
  }
  EXPECT_EQ(counted_type_text(counted_type(9999)), "other");
}

}  // namespace
}  // namespace fairlead::dns
