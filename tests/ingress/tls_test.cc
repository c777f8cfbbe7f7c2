// TLS by SNI, certificates that change or break, and a real curl.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "net/tls.h"
#include "tests/ingress/testing.h"

namespace fairlead::ingress::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

net::CertificatePair make_pair_for(const std::vector<std::string>& names) {
  auto pair = net::self_signed({.common_name = names.front(), .dns_names = names});
  EXPECT_TRUE(pair) << pair.error().message;
  return *pair;
}

// A client that takes any certificate and tells which one it got.
class TlsClient {
 public:
  explicit TlsClient(const SocketAddress& address, const std::string& server_name = "",
                     const std::string& alpn = "", SSL_SESSION* resume = nullptr)
      : client_(address), context_(SSL_CTX_new(TLS_client_method())) {
    ssl_ = SSL_new(context_);
    if (!server_name.empty()) SSL_set_tlsext_host_name(ssl_, server_name.c_str());
    if (!alpn.empty()) {
      SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>(alpn.data()),
                          static_cast<unsigned>(alpn.size()));
    }
    if (resume != nullptr) SSL_set_session(ssl_, resume);
    SSL_set_fd(ssl_, client_.fd());
  }
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool handshake() { return SSL_connect(ssl_) == 1; }
  std::string common_name() {
    X509* certificate = SSL_get1_peer_certificate(ssl_);
    if (certificate == nullptr) return "";
    char name[256] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name,
                              sizeof name);
    X509_free(certificate);
    return name;
  }
  std::string ask(const std::string& request, size_t until = 0) {
    SSL_write(ssl_, request.data(), static_cast<int>(request.size()));
    std::string out;
    char bytes[16384];
    for (int got = 0; (got = SSL_read(ssl_, bytes, sizeof bytes)) > 0;) {
      out.append(bytes, static_cast<size_t>(got));
      const size_t head = out.find("\r\n\r\n");
      if (head == out.npos) continue;
      const auto length = parse_int(field_of(out, "content-length"));
      if (out.size() >= (until > 0 ? until : head + 4 + static_cast<size_t>(*length))) break;
    }
    return out;
  }
  SSL* ssl() { return ssl_; }

 private:
  Client client_;
  SSL_CTX* context_;
  SSL* ssl_;
};

std::string name_served(Ingress& ingress, const std::string& server_name) {
  TlsClient client(ingress.https(), server_name);
  return client.handshake() ? client.common_name() : "no handshake";
}

TEST(Tls, the_certificate_follows_sni_and_the_route_follows_host) {
  RecordingUpstream upstream("secure");
  Ingress ingress({}, 1, true);
  const auto exact = make_pair_for({"shop.test"});
  const auto wild = make_pair_for({"*.wild.test"});
  ingress.cluster.tls_secret("shop-tls", exact.certificate_pem, exact.key_pem);
  ingress.cluster.tls_secret("wild-tls", wild.certificate_pem, wild.key_pem);
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.ingress("shop", "shop.test", "web", "shop-tls");
  ingress.cluster.ingress("wild", "*.wild.test", "web", "wild-tls");
  ingress.publish_and_wait();
  EXPECT_EQ(ingress.server->status().certificates, 2U);

  EXPECT_EQ(name_served(ingress, "shop.test"), "shop.test");
  EXPECT_EQ(name_served(ingress, "SHOP.test"), "shop.test");
  EXPECT_EQ(name_served(ingress, "a.wild.test"), "*.wild.test");
  EXPECT_EQ(name_served(ingress, "a.b.wild.test"), "fairlead default certificate");
  EXPECT_EQ(name_served(ingress, "unknown.test"), "fairlead default certificate");
  EXPECT_EQ(name_served(ingress, ""), "fairlead default certificate");

  TlsClient client(ingress.https(), "shop.test");
  ASSERT_TRUE(client.handshake());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(body_of(client.ask(get("shop.test"))), "secure");
  EXPECT_EQ(field_of(upstream.requests().at(0), "X-Forwarded-Proto"), "https");
  EXPECT_EQ(field_of(upstream.requests().at(0), "X-Forwarded-Port"), cat(ingress.https().port));
  EXPECT_EQ(status_of(client.ask(get("unknown.test"))), 404);
}

TEST(Tls, a_renewed_certificate_is_used_at_once) {
  RecordingUpstream upstream;
  Ingress ingress({}, 2, true);
  const auto first = make_pair_for({"first", "shop.test"});
  const auto second = make_pair_for({"second", "shop.test"});
  ingress.cluster.tls_secret("tls", first.certificate_pem, first.key_pem);
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.ingress("shop", "shop.test", "web", "tls");
  ingress.publish_and_wait();
  TlsClient open(ingress.https(), "shop.test");
  ASSERT_TRUE(open.handshake());
  EXPECT_EQ(open.common_name(), "first");
  ingress.cluster.tls_secret("tls", second.certificate_pem, second.key_pem);
  ingress.publish_and_wait();
  EXPECT_EQ(name_served(ingress, "shop.test"), "second");
  EXPECT_EQ(status_of(open.ask(get("shop.test"))), 200);  // the old connection goes on
}

struct BadSecret {
  const char* name;
  std::string certificate, key, problem;
};

TEST(Tls, a_broken_secret_serves_the_default_certificate_and_plain_http_goes_on) {
  const auto good = make_pair_for({"shop.test"}), other = make_pair_for({"other.test"});
  const BadSecret cases[] = {
      {"garbage", "garbage", good.key_pem,
       "tls.crt: expected PEM text with -----BEGIN CERTIFICATE-----, found none"},
      {"truncated", good.certificate_pem.substr(0, 100), good.key_pem,
       "tls.crt: certificate 1 of the PEM text cannot be read"},
      {"no key", good.certificate_pem, "",
       "tls.key: expected PEM text with -----BEGIN PRIVATE KEY-----, found none"},
      {"half a key", good.certificate_pem, good.key_pem.substr(0, 80),
       "tls.key: the private key cannot be read"},
      {"key with a password", good.certificate_pem,
       "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
       "tls.key: the key is encrypted"},
      {"foreign key", good.certificate_pem, other.key_pem, "not the key of the first certificate"},
      {"broken chain", good.certificate_pem + "-----BEGIN CERTIFICATE-----\nAAAA\n", good.key_pem,
       "tls.crt: certificate 2 of the PEM text cannot be read"},
  };
  RecordingUpstream upstream;
  Ingress ingress({}, 1, true);
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.ingress("shop", "shop.test", "web", "tls");
  ingress.publish_and_wait();
  EXPECT_THAT(ingress.server->status().problems,
              ElementsAre("Ingress default/shop: spec.tls[0].secretName: Secret 'tls' not found: "
                          "serving the default certificate"));
  for (const BadSecret& test : cases) {
    SCOPED_TRACE(test.name);
    ingress.cluster.tls_secret("tls", test.certificate, test.key);
    ingress.publish_and_wait();
    EXPECT_THAT(ingress.server->status().problems, ElementsAre(HasSubstr(test.problem)));
    EXPECT_THAT(ingress.server->status().problems,
                ElementsAre(HasSubstr("Secret 'tls' is not usable: ")));
    EXPECT_EQ(name_served(ingress, "shop.test"), "fairlead default certificate");
    Client plain(ingress.http());
    plain.send(get("shop.test"));
    EXPECT_EQ(status_of(plain.read_response()), 200);
  }
  ingress.cluster.tls_secret("tls", good.certificate_pem, good.key_pem);
  ingress.publish_and_wait();
  EXPECT_TRUE(ingress.server->status().problems.empty());
  EXPECT_EQ(name_served(ingress, "shop.test"), "shop.test");
}

TEST(Tls, no_hosts_means_the_names_in_the_certificate) {
  Ingress ingress({}, 1, true);
  const auto pair = make_pair_for({"one.test", "two.test"});
  ingress.cluster.tls_secret("tls", pair.certificate_pem, pair.key_pem);
  auto object = make_ingress("web", "one.test", "web");
  object.tls.push_back({.secret_name = "tls"});
  ingress.cluster.put(std::make_shared<const api::Ingress>(object));
  ingress.publish_and_wait();
  EXPECT_EQ(name_served(ingress, "two.test"), "one.test");
}

TEST(Tls, the_oldest_ingress_with_a_working_certificate_has_the_host) {
  Ingress ingress({}, 1, true);
  const auto old_pair = make_pair_for({"old", "a.test"}),
             new_pair = make_pair_for({"new", "a.test"});
  ingress.cluster.tls_secret("new-tls", new_pair.certificate_pem, new_pair.key_pem);
  auto older = make_ingress("older", "a.test", "web"),
       newer = make_ingress("newer", "b.test", "web");
  older.meta.creation_timestamp = "2026-01-01T00:00:00Z";
  newer.meta.creation_timestamp = "2026-01-02T00:00:00Z";
  older.tls.push_back({.hosts = {"a.test"}, .secret_name = "old-tls"});
  newer.tls.push_back({.hosts = {"a.test"}, .secret_name = "new-tls"});
  ingress.cluster.put(std::make_shared<const api::Ingress>(older));
  ingress.cluster.put(std::make_shared<const api::Ingress>(newer));
  ingress.publish_and_wait();
  EXPECT_EQ(name_served(ingress, "a.test"), "new");  // the older one's Secret is missing
  ingress.cluster.tls_secret("old-tls", old_pair.certificate_pem, old_pair.key_pem);
  ingress.publish_and_wait();
  EXPECT_EQ(name_served(ingress, "a.test"), "old");
  EXPECT_THAT(ingress.server->status().problems,
              ::testing::Contains(HasSubstr("Ingress default/newer: spec.tls[0]: host 'a.test' "
                                            "already has a certificate by Ingress default/older")));
}

TEST(Tls, speaks_http11_by_alpn_and_resumes_sessions_on_any_worker) {
  RecordingUpstream upstream;
  Ingress ingress({}, 2, true);
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.ingress("web", "", "web");
  ingress.publish_and_wait();
  TlsClient client(ingress.https(), "x.test", std::string("\x02h2\x08http/1.1"));
  ASSERT_TRUE(client.handshake());
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(client.ssl(), &protocol, &size);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(protocol), size), "http/1.1");
  EXPECT_EQ(status_of(client.ask(get("a"))), 200);  // tickets come with the first answer
  SSL_SESSION* session = SSL_get1_session(client.ssl());
  EXPECT_EQ(SSL_SESSION_get_max_early_data(session), 0U);
  for (int i = 0; i < 6; ++i) {
    TlsClient again(ingress.https(), "x.test", "", session);
    ASSERT_TRUE(again.handshake());
    EXPECT_EQ(SSL_session_reused(again.ssl()), 1);
    EXPECT_EQ(status_of(again.ask(get("a"))), 200);
  }
  SSL_SESSION_free(session);
}

TEST(Tls, old_protocol_versions_are_refused) {
  Ingress ingress({}, 1, true);
  TlsClient client(ingress.https(), "x.test");
  SSL_set_security_level(client.ssl(), 0);
  SSL_set_max_proto_version(client.ssl(), TLS1_1_VERSION);
  EXPECT_FALSE(client.handshake());
  ERR_clear_error();
}

TEST(Tls, large_bodies_and_pipelined_requests_pass) {
  const std::string body(3'000'000, 'b');
  RecordingUpstream upstream(body);
  Ingress ingress({}, 1, true);
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.ingress("web", "", "web");
  ingress.publish_and_wait();
  TlsClient client(ingress.https(), "x.test");
  ASSERT_TRUE(client.handshake());
  const std::string sent(500'000, 'q');
  const std::string response = client.ask(
      cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", sent.size(), "\r\n\r\n", sent));
  EXPECT_TRUE(body_of(response) == body);
  EXPECT_TRUE(body_of(upstream.requests().at(0)) == sent);

  std::string many;
  for (int i = 0; i < 2000; ++i) many += "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
  TlsClient second(ingress.https(), "x.test");
  ASSERT_TRUE(second.handshake());
  std::thread writer([&] { SSL_write(second.ssl(), many.data(), static_cast<int>(many.size())); });
  writer.join();
  size_t answers = 0;
  std::string text;
  char bytes[16384];
  while (answers < 2000) {
    const int got = SSL_read(second.ssl(), bytes, sizeof bytes);
    if (got <= 0) break;
    text.append(bytes, static_cast<size_t>(got));
    for (size_t end; (end = text.find("\r\n\r\n")) != text.npos; text.erase(0, end + 4)) ++answers;
  }
  EXPECT_EQ(answers, 2000U);
}

TEST(Tls, what_is_no_tls_is_closed) {
  Ingress ingress({}, 1, true);
  Client client(ingress.https());
  client.send(get("a"));
  client.read_all();
  Client half(ingress.https());
  half.send(std::string("\x16\x03\x01\x02", 4));
  half.shutdown_write();
  half.read_all();  // perhaps an alert
  EXPECT_TRUE(half.closed());
}

std::string run_curl(const std::string& arguments) {
  FILE* pipe =
      ::popen(("curl --silent --show-error --max-time 10 " + arguments + " 2>&1").c_str(), "r");
  std::string out;
  char bytes[4096];
  for (size_t got; (got = std::fread(bytes, 1, sizeof bytes, pipe)) > 0;) out.append(bytes, got);
  ::pclose(pipe);
  return out;
}

TEST(Tls, curl_verifies_the_certificate_and_gets_the_page) {
  if (std::system("curl --version > /dev/null 2>&1") != 0) {
    const char* ci = std::getenv("CI");
    ASSERT_FALSE(ci != nullptr && std::string_view(ci) == "true") << "curl is not installed";
    GTEST_SKIP() << "curl is not installed: the ingress is not tried with a real client";
  }
  RecordingUpstream upstream("for curl");
  Ingress ingress({}, 1, true);
  const auto authority = net::self_signed({.common_name = "test CA", .is_authority = true});
  ASSERT_TRUE(authority);
  const auto leaf =
      net::issue({.common_name = "shop.test", .dns_names = {"shop.test"}}, *authority);
  ASSERT_TRUE(leaf);
  ingress.cluster.tls_secret("tls", leaf->certificate_pem, leaf->key_pem);
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.ingress("shop", "shop.test", "web", "tls");
  ingress.publish_and_wait();
  std::ofstream(ingress.directory + "/ca.pem") << authority->certificate_pem;

  const std::string resolve = cat("--resolve shop.test:", ingress.https().port, ":127.0.0.1 ");
  const std::string url = cat("https://shop.test:", ingress.https().port, "/x ");
  EXPECT_EQ(run_curl(cat(resolve, "--cacert ", ingress.directory, "/ca.pem ", url)), "for curl");
  EXPECT_THAT(run_curl(cat(resolve, url)), HasSubstr("certificate"));
  EXPECT_EQ(
      run_curl(
          cat("--data @/etc/hostname --header 'Expect: 100-continue' -H 'Host: shop.test' http://",
              ingress.http().to_string(), "/")),
      "for curl");
}

}  // namespace
}  // namespace fairlead::ingress::testing
