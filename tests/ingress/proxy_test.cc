// Requests end to end: a client socket, the ingress, upstreams in the test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "tests/ingress/testing.h"

namespace fairlead::ingress::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Proxy, forwards_and_answers) {
  RecordingUpstream upstream("hello");
  Ingress ingress;
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.ingress("web", "shop.example.com", "web");
  ingress.publish_and_wait();

  Client client(ingress.http());
  client.send("GET /a?b=c HTTP/1.1\r\nHost: Shop.Example.com:8080\r\nUser-Agent: test\r\n\r\n");
  const std::string response = client.read_response();
  EXPECT_EQ(status_of(response), 200);
  EXPECT_EQ(body_of(response), "hello");
  ASSERT_EQ(upstream.requests().size(), 1U);
  const std::string request = upstream.requests()[0];
  EXPECT_THAT(request,
              ::testing::StartsWith("GET /a?b=c HTTP/1.1\r\nHost: Shop.Example.com:8080\r\n"));
  EXPECT_EQ(field_of(request, "X-Forwarded-For"), "127.0.0.1");
  EXPECT_EQ(field_of(request, "X-Real-IP"), "127.0.0.1");
  EXPECT_EQ(field_of(request, "X-Forwarded-Proto"), "http");
  EXPECT_EQ(field_of(request, "X-Forwarded-Host"), "Shop.Example.com:8080");
  EXPECT_EQ(field_of(request, "X-Forwarded-Port"), cat(ingress.http().port));
  EXPECT_EQ(field_of(request, "X-Request-ID").size(), 32U);
  EXPECT_FALSE(field_of(response, "Date").empty());
  EXPECT_EQ(field_of(response, "Server"), "fairlead");

  client.send(get("unknown.example.com"));
  EXPECT_EQ(status_of(client.read_response()), 404);
  client.send(get("shop.example.com"));
  EXPECT_EQ(status_of(client.read_response()), 200);
  EXPECT_EQ(upstream.connections(), 1);
}

}  // namespace
}  // namespace fairlead::ingress::testing
