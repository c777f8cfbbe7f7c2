// Certificates that are issued by an authority in between, and bundles of authorities.
#include "base/text.h"
#include "net/tls.h"
#include "tests/net/http_rig.h"

namespace fairlead::net {
namespace {

struct Chain {
  CertificatePair root, middle, server, client;

  static Chain make() {
    Chain chain;
    chain.root = self_signed({.common_name = "root", .is_authority = true}).value();
    chain.middle = issue({.common_name = "middle", .is_authority = true}, chain.root).value();
    chain.server =
        issue({.common_name = "s", .ips = {*Ip::parse("127.0.0.1")}}, chain.middle).value();
    chain.client = issue({.common_name = "carol", .for_client = true}, chain.middle).value();
    return chain;
  }
};

// A rig whose TLS contexts are made here.
class ChainRig {
 public:
  explicit ChainRig(const TlsContext::ServerOptions& options)
      : server(loop, Log(sink), [this](HttpRequest request, std::unique_ptr<Responder> responder) {
          user = request.peer.certificate_user;
          responder->send(HttpResponse::text(200, "ok"));
        }) {
    const auto tls = TlsContext::server(options);
    EXPECT_TRUE(tls.has_value()) << tls.error().message;
    address = server.listen(*SocketAddress::parse("127.0.0.1:0"), *tls).value();
  }

  // "ok", or the error.
  std::string call(const TlsContext::ClientOptions& options) {
    const auto tls = TlsContext::client(options);
    EXPECT_TRUE(tls.has_value()) << tls.error().message;
    HttpClient client(loop, {.host = "127.0.0.1", .port = address.port, .tls = *tls});
    Outcome outcome;
    const auto call = client.call({}, outcome.callbacks());
    for (int i = 0; i < 1'000 && outcome.dones == 0; ++i) {
      loop.run_once(std::chrono::milliseconds(5));
    }
    return outcome.result ? outcome.body : outcome.result.error().message;
  }

  EventLoop loop;
  MemoryLogSink sink;
  std::string user;
  HttpServer server;
  SocketAddress address;
};

TEST(TlsChains, ServerSendsItsWholeChain) {
  const Chain chain = Chain::make();
  ChainRig whole({.certificate_pem = chain.server.certificate_pem + chain.middle.certificate_pem,
                  .key_pem = chain.server.key_pem});
  EXPECT_EQ(whole.call({.ca_pem = chain.root.certificate_pem}), "ok");
  ChainRig leaf({.certificate_pem = chain.server.certificate_pem, .key_pem = chain.server.key_pem});
  EXPECT_NE(leaf.call({.ca_pem = chain.root.certificate_pem}).find("local issuer certificate"),
            std::string::npos)
      << "only what is configured is sent";
  EXPECT_EQ(leaf.call({.ca_pem = chain.middle.certificate_pem + chain.root.certificate_pem}), "ok");
}

TEST(TlsChains, ClientSendsItsWholeChain) {
  const Chain chain = Chain::make();
  ChainRig rig({.certificate_pem = chain.server.certificate_pem + chain.middle.certificate_pem,
                .key_pem = chain.server.key_pem,
                .client_ca_pem = chain.root.certificate_pem});
  EXPECT_EQ(
      rig.call({.ca_pem = chain.root.certificate_pem,
                .certificate_pem = chain.client.certificate_pem + chain.middle.certificate_pem,
                .key_pem = chain.client.key_pem}),
      "ok");
  EXPECT_EQ(rig.user, "carol");
  rig.user.clear();
  EXPECT_TRUE(rig.call({.ca_pem = chain.root.certificate_pem,
                        .certificate_pem = chain.client.certificate_pem,
                        .key_pem = chain.client.key_pem})
                  .starts_with("GET 127.0.0.1:"));
  EXPECT_EQ(rig.user, "") << "the handler must not see who is not verified";
}

TEST(TlsChains, BundleMayHoldSeveralAuthoritiesAndOneOfThemTwice) {
  const Chain chain = Chain::make(), other = Chain::make();
  const std::string bundle = other.root.certificate_pem + "a line between them\n" +
                             chain.root.certificate_pem + chain.root.certificate_pem;
  ChainRig rig({.certificate_pem = chain.server.certificate_pem + chain.middle.certificate_pem,
                .key_pem = chain.server.key_pem,
                .client_ca_pem = bundle});
  EXPECT_EQ(rig.call({.ca_pem = bundle}), "ok");
  EXPECT_EQ(rig.user, "");
}

TEST(TlsChains, AuthorityBelowALeafIsNotBelieved) {
  const Chain chain = Chain::make();
  // issue() refuses an issuer that is no CA; an attacker would not.
  EXPECT_FALSE(issue({.common_name = "x"}, chain.server).has_value());
  ChainRig rig({.certificate_pem = chain.client.certificate_pem + chain.middle.certificate_pem,
                .key_pem = chain.client.key_pem});
  EXPECT_NE(rig.call({.ca_pem = chain.root.certificate_pem}).find("certificate verify failed"),
            std::string::npos)
      << "a client's certificate is none of a server";
}

TEST(Certificates, MayLastUntilTheLastYearThatCanBeWritten) {
  EXPECT_TRUE(self_signed({.common_name = "x", .days = 36'500}).has_value());
  for (const int days : {3'000'000, 2'147'483'647}) {  // after the year 9999 (RFC 5280 4.1.2.5)
    const auto pair = self_signed({.common_name = "x", .days = days});
    ASSERT_FALSE(pair.has_value()) << days;
    EXPECT_NE(pair.error().message.find(cat("days is ", days)), std::string::npos)
        << pair.error().message;
  }
}

}  // namespace
}  // namespace fairlead::net
