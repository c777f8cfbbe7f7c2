// Certificates out of Secrets: what they are good for, and what is said of those that are not.
#include "ingress/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "net/openssl_handles.h"
#include "net/tls.h"
#include "tests/ingress/testing.h"

namespace fairlead::ingress::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

api::Secret secret_of(const net::CertificatePair& pair) {
  api::Secret secret;
  secret.meta.key = {"default", "tls"};
  secret.type = "kubernetes.io/tls";
  secret.data = {{"tls.crt", pair.certificate_pem}, {"tls.key", pair.key_pem}};
  return secret;
}

std::shared_ptr<const Certificate> certificate(const net::CertificateRequest& request) {
  const auto pair = net::self_signed(request);
  EXPECT_TRUE(pair) << pair.error().message;
  const auto read = Certificate::from_secret(secret_of(*pair));
  EXPECT_TRUE(read) << read.error().message;
  return *read;
}

// The certificate of the pair, signed anew: it ended yesterday.
std::string expired(const net::CertificatePair& pair) {
  auto certificates = net::read_certificates(pair.certificate_pem, "a test");
  const auto key = net::read_key(pair.key_pem, "a test");
  X509* leaf = certificates->at(0).get();
  X509_gmtime_adj(X509_getm_notBefore(leaf), -172'800);
  X509_gmtime_adj(X509_getm_notAfter(leaf), -86'400);
  EXPECT_GT(X509_sign(leaf, key->get(), EVP_sha256()), 0);
  const std::unique_ptr<BIO, int (*)(BIO*)> out(BIO_new(BIO_s_mem()), &BIO_free);
  EXPECT_EQ(PEM_write_bio_X509(out.get(), leaf), 1);
  char* text = nullptr;
  const auto size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<size_t>(size)};
}

TEST(Certificate, names_are_those_of_the_extension_else_the_common_name) {
  EXPECT_THAT(certificate({.common_name = "CN.test", .dns_names = {"A.test", "*.B.test"}})->names(),
              ElementsAre("a.test", "*.b.test"));
  EXPECT_THAT(certificate({.common_name = "CN.test"})->names(), ElementsAre("cn.test"));
  EXPECT_THAT(certificate({.common_name = "CN.test", .ips = {Ip::v4(0xc0000207)}})->names(),
              ElementsAre("cn.test"))
      << "SNI has no addresses";
  EXPECT_EQ(certificate({.common_name = "a"})->source(), "Secret default/tls");
}

TEST(Certificate, a_secret_must_be_of_the_type_and_have_both_keys) {
  const auto pair = net::self_signed({.common_name = "a.test"});
  ASSERT_TRUE(pair);
  const auto error = [&](const std::function<void(api::Secret&)>& spoil) {
    api::Secret secret = secret_of(*pair);
    spoil(secret);
    const auto read = Certificate::from_secret(secret);
    return read ? "" : read.error().message;
  };
  EXPECT_EQ(error([](api::Secret&) {}), "");
  EXPECT_EQ(error([](api::Secret& s) { s.type = "Opaque"; }),
            "its type is 'Opaque', expected kubernetes.io/tls");
  EXPECT_EQ(error([](api::Secret& s) { s.data.erase("tls.crt"); }), "it has no key tls.crt");
  EXPECT_EQ(error([](api::Secret& s) { s.data.erase("tls.key"); }), "it has no key tls.key");
}

TEST(Certificate, the_chain_is_sent_behind_the_leaf) {
  const auto authority = net::self_signed({.common_name = "authority", .is_authority = true});
  ASSERT_TRUE(authority);
  const auto leaf = net::issue({.common_name = "shop", .dns_names = {"shop.test"}}, *authority);
  ASSERT_TRUE(leaf);
  RecordingUpstream upstream;
  Ingress ingress({}, 1, true);
  ingress.cluster.tls_secret("tls", leaf->certificate_pem + authority->certificate_pem,
                             leaf->key_pem);
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.ingress("shop", "shop.test", "web", "tls");
  ingress.publish_and_wait();
  Client client(ingress.https());
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_client_method()),
                                                             &SSL_CTX_free);
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context.get()), &SSL_free);
  SSL_set_tlsext_host_name(ssl.get(), "shop.test");
  SSL_set_fd(ssl.get(), client.fd());
  ASSERT_EQ(SSL_connect(ssl.get()), 1);
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(ssl.get())), 2);
}

TEST(Certificate, the_authority_before_the_leaf_is_refused) {
  const auto authority = net::self_signed({.common_name = "authority", .is_authority = true});
  const auto leaf = net::issue({.common_name = "shop"}, *authority);
  ASSERT_TRUE(leaf);
  const auto read = Certificate::parse(authority->certificate_pem + leaf->certificate_pem,
                                       leaf->key_pem, "a test");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().message, "tls.key is not the key of the first certificate in tls.crt");
}

// Browsers say what is wrong then; another certificate would only be one more thing to explain.
TEST(Certificate, an_expired_one_is_served_and_named) {
  RecordingUpstream upstream;
  Ingress ingress({}, 1, true);
  const auto pair = net::self_signed({.common_name = "shop.test", .dns_names = {"shop.test"}});
  ASSERT_TRUE(pair);
  ingress.cluster.tls_secret("tls", expired(*pair), pair->key_pem);
  ingress.cluster.service("web", {upstream.address()});
  ingress.cluster.ingress("shop", "shop.test", "web", "tls");
  ingress.publish_and_wait();
  EXPECT_EQ(ingress.server->status().certificates, 1U);
  EXPECT_THAT(ingress.server->status().problems,
              ElementsAre(HasSubstr("'tls' holds an expired certificate")));
  EXPECT_FALSE(certificate({.common_name = "new"})->expired());
}

}  // namespace
}  // namespace fairlead::ingress::testing
