#include "net/tls.h"

#include <atomic>
#include <thread>

#include "base/text.h"
#include "net/crypto.h"
#include "net/openssl_handles.h"
#include "net/socket.h"
#include "tests/net/http_rig.h"

namespace fairlead::net {
namespace {

X509Ptr parse_one(const std::string& pem) {
  return std::move(read_certificates(pem, "certificate").value().front());
}

// "CA:TRUE", "serverAuth", ... of one extension, as OpenSSL prints it.
std::string extension(X509* certificate, int nid) {
  const int at = X509_get_ext_by_NID(certificate, nid, -1);
  if (at < 0) return "";
  const BioPtr bio(BIO_new(BIO_s_mem()));
  X509V3_EXT_print(bio.get(), X509_get_ext(certificate, at), 0, 0);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

TEST(Certificates, SayWhatWasAskedFor) {
  struct Row {
    CertificateRequest request;
    std::string constraints, key_usage, extended, names;
  };
  const Row table[] = {
      {{.common_name = "ca", .is_authority = true},
       "CA:TRUE",
       "Digital Signature, Certificate Sign, CRL Sign",
       "",
       ""},
      {{.common_name = "server",
        .dns_names = {"a.example", "*.b.example"},
        .ips = {*Ip::parse("10.0.0.1"), *Ip::parse("fd00::1")}},
       "CA:FALSE",
       "Digital Signature",
       "TLS Web Server Authentication",
       "DNS:a.example, DNS:*.b.example, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1"},
      {{.common_name = "client", .organizations = {"one", "two"}, .for_client = true},
       "CA:FALSE",
       "Digital Signature",
       "TLS Web Client Authentication",
       ""},
      {{.common_name = "x", .dns_names = {"a,DNS:evil.example"}},
       "CA:FALSE",
       "Digital Signature",
       "TLS Web Server Authentication",
       "DNS:a,DNS:evil.example"},  // one name, however it prints
  };
  for (const Row& row : table) {
    SCOPED_TRACE(row.request.common_name);
    for (const bool own : {true, false}) {
      const auto pair =
          own ? self_signed(row.request) : issue(row.request, TestPki::get().authority);
      ASSERT_TRUE(pair.has_value()) << pair.error().message;
      const X509Ptr certificate = parse_one(pair->certificate_pem);
      EXPECT_EQ(extension(certificate.get(), NID_basic_constraints), row.constraints);
      EXPECT_EQ(extension(certificate.get(), NID_key_usage), row.key_usage);
      EXPECT_EQ(extension(certificate.get(), NID_ext_key_usage), row.extended);
      EXPECT_EQ(extension(certificate.get(), NID_subject_alt_name), row.names);
      EXPECT_EQ(EVP_PKEY_get_bits(X509_get0_pubkey(certificate.get())), 256);
      EXPECT_LT(X509_cmp_current_time(X509_get0_notBefore(certificate.get())), 0);
      EXPECT_GT(X509_cmp_current_time(X509_get0_notAfter(certificate.get())), 0);
    }
  }
}

TEST(Certificates, HaveSerialsOfTheirOwn) {
  const CertificateRequest request{.common_name = "x"};
  const X509Ptr one = parse_one(self_signed(request)->certificate_pem);
  const X509Ptr two = parse_one(self_signed(request)->certificate_pem);
  EXPECT_NE(ASN1_INTEGER_cmp(X509_get0_serialNumber(one.get()), X509_get0_serialNumber(two.get())),
            0);
}

TEST(Certificates, BadRequestsAreErrors) {
  const TestPki& pki = TestPki::get();
  struct Row {
    Result<CertificatePair> result;
    std::string part;
  };
  const CertificateRequest fine{.common_name = "x"};
  const Row table[] = {
      {self_signed({.common_name = std::string(65, 'n')}), "1 to 64 characters"},
      {self_signed({.common_name = ""}), "1 to 64 characters"},
      {self_signed({.common_name = "x", .days = 0}), "days is 0, expected at least 1"},
      {self_signed({.common_name = "x", .organizations = {std::string(100, 'o')}}),
       "organization \"oooo"},
      {issue(fine, pki.server), "not that of a CA"},
      {issue(fine, {pki.authority.certificate_pem, pki.server.key_pem}), "does not belong to"},
      {issue(fine, {"", pki.authority.key_pem}), "authority: expected PEM text with -----BEGIN C"},
      {issue(fine, {pki.authority.certificate_pem, ""}), "authority key: expected PEM text"},
  };
  for (const Row& row : table) {
    ASSERT_FALSE(row.result.has_value()) << row.part;
    EXPECT_NE(row.result.error().message.find(row.part), std::string::npos)
        << row.result.error().message;
  }
}

std::string cut(std::string pem, size_t at, size_t bytes) {
  return pem.erase(pem.find('\n') + at, bytes);
}

TEST(TlsContexts, FaultyMaterialIsNamedAndNeverQuoted) {
  const TestPki& pki = TestPki::get();
  const std::string& certificate = pki.server.certificate_pem;
  const std::string& key = pki.server.key_pem;
  struct Row {
    TlsContext::ServerOptions options;
    std::string part;
  };
  const std::string encrypted =
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
  const Row table[] = {
      {{"", key, ""}, "server certificate: expected PEM text with -----BEGIN CERTIFICATE-----"},
      {{"hello", key, ""}, "server certificate: expected PEM text"},
      {{key, key, ""}, "server certificate: expected PEM text"},
      {{cut(certificate, 20, 9), key, ""}, "server certificate: certificate 1 of the PEM text"},
      {{certificate + cut(certificate, 30, 5), key, ""}, "certificate 2 of the PEM text"},
      {{certificate, "", ""}, "server key: expected PEM text with -----BEGIN PRIVATE KEY-----"},
      {{certificate, certificate, ""}, "server key: expected PEM text"},
      {{certificate, cut(key, 20, 9), ""}, "server key: the private key cannot be read"},
      {{certificate, encrypted, ""}, "server key: the key is encrypted"},
      {{certificate, pki.client.key_pem, ""}, "it does not belong to the server certificate"},
      {{certificate, key, "nonsense"}, "client CA: expected PEM text"},
  };
  for (const Row& row : table) {
    SCOPED_TRACE(row.part);
    const auto result = TlsContext::server(row.options);
    ASSERT_FALSE(result.has_value());
    EXPECT_NE(result.error().message.find(row.part), std::string::npos) << result.error().message;
    const std::string secret = key.substr(key.find('\n') + 1, 20);
    EXPECT_EQ(result.error().message.find(secret), std::string::npos);
  }
  EXPECT_TRUE(TlsContext::server({certificate, key, ""}).has_value());
}

TEST(TlsContexts, ClientMaterialIsChecked) {
  const TestPki& pki = TestPki::get();
  const auto half = TlsContext::client({.certificate_pem = pki.client.certificate_pem});
  ASSERT_FALSE(half.has_value());
  EXPECT_EQ(half.error().message, "client certificate and client key: expected both or none");
  const auto bad_ca = TlsContext::client({.ca_pem = "x"});
  ASSERT_FALSE(bad_ca.has_value());
  EXPECT_TRUE(bad_ca.error().message.starts_with("CA: expected PEM text"));
  const auto other = TlsContext::client(
      {.certificate_pem = pki.client.certificate_pem, .key_pem = pki.server.key_pem});
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().message, "client key: it does not belong to the client certificate");
  EXPECT_TRUE(TlsContext::client({}).has_value()) << "the system's trust store";
}

// One handshake between given contexts.
struct Handshake {
  std::string name;
  TlsContext::ClientOptions client;
  std::string host = "127.0.0.1";
  std::string error = {};  // "" = it works
  std::string user = {};   // what the server saw
};

TEST(TlsHandshakes, VerifyBothSides) {
  const TestPki& pki = TestPki::get();
  const CertificatePair stranger_ca =
      self_signed({.common_name = "stranger", .is_authority = true}).value();
  const CertificatePair stranger =
      issue({.common_name = "mallory", .for_client = true}, stranger_ca).value();
  const std::string& ca = pki.authority.certificate_pem;
  const std::vector<Handshake> table = {
      {"plain", {.ca_pem = ca}},
      {"by name", {.ca_pem = ca}, "localhost"},
      {"by another name", {.ca_pem = ca, .server_name = "localhost"}},
      {"client certificate",
       {.ca_pem = ca, .certificate_pem = pki.client.certificate_pem, .key_pem = pki.client.key_pem},
       "127.0.0.1",
       "",
       "alice"},
      {"wrong name",
       {.ca_pem = ca, .server_name = "example.org"},
       "127.0.0.1",
       "certificate verify failed: hostname mismatch"},
      {"wrong address",
       {.ca_pem = ca, .server_name = "10.1.1.1"},
       "127.0.0.1",
       "certificate verify failed: IP address mismatch"},
      {"stranger's CA",
       {.ca_pem = stranger_ca.certificate_pem},
       "127.0.0.1",
       "certificate verify failed: unable to get local issuer certificate"},
      {"stranger's CA, not verified",
       {.ca_pem = stranger_ca.certificate_pem, .server_name = "x", .insecure_skip_verify = true}},
      {"server certificate as client certificate",
       {.ca_pem = ca, .certificate_pem = pki.server.certificate_pem, .key_pem = pki.server.key_pem},
       "127.0.0.1",
       "TLS: "},
      {"stranger's client certificate",
       {.ca_pem = ca, .certificate_pem = stranger.certificate_pem, .key_pem = stranger.key_pem},
       "127.0.0.1",
       "TLS: "},
  };
  for (const Handshake& row : table) {
    SCOPED_TRACE(row.name);
    std::string user = "nobody asked";
    HttpRig rig(Transport::tls, [&](HttpRequest request, std::unique_ptr<Responder> responder) {
      user = request.peer.certificate_user;
      responder->send(HttpResponse::text(200, "ok"));
    });
    rig.target.host = row.host;
    rig.target.tls = TlsContext::client(row.client).value();
    HttpClient client(rig.loop, rig.target);
    const Outcome got = rig.run(client, {});
    if (row.error.empty()) {
      ASSERT_TRUE(got.result.has_value()) << got.result.error().message;
      EXPECT_EQ(user, row.user);
    } else {
      ASSERT_FALSE(got.result.has_value());
      EXPECT_NE(got.result.error().message.find(row.error), std::string::npos)
          << got.result.error().message;
      EXPECT_EQ(user, "nobody asked");
    }
  }
}

// A bare OpenSSL client, blocking on a thread of its own while the rig's loop turns.
std::string bare_handshake(HttpRig& rig, const std::function<void(SSL_CTX*)>& configure) {
  std::atomic<bool> ended = false;
  std::string outcome;
  std::thread thread([&] {
    const SslContextPtr context(SSL_CTX_new(TLS_client_method()));
    configure(context.get());
    const BioPtr bio(BIO_new_connect(rig.address.to_string().c_str()));
    const SslPtr ssl(SSL_new(context.get()));
    if (BIO_do_connect(bio.get()) == 1) {
      BIO_up_ref(bio.get());
      SSL_set_bio(ssl.get(), bio.get(), bio.get());
      if (SSL_connect(ssl.get()) == 1) {
        const unsigned char* alpn = nullptr;
        unsigned int size = 0;
        SSL_get0_alpn_selected(ssl.get(), &alpn, &size);
        outcome = cat(SSL_get_version(ssl.get()), " ",
                      std::string_view(reinterpret_cast<const char*>(alpn), size));
      } else {
        outcome = openssl_error();
      }
    }
    ended = true;
  });
  EXPECT_TRUE(rig.run_until([&] { return ended.load(); }));
  thread.join();
  return outcome;
}

TEST(TlsHandshakes, OldVersionsAndOtherProtocolsAreRefused) {
  HttpRig rig(Transport::tls, [](HttpRequest, std::unique_ptr<Responder>) {});
  const auto alpn = [](std::string wire) {
    return [wire](SSL_CTX* context) {
      SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(wire.data()),
                              static_cast<unsigned int>(wire.size()));
    };
  };
  EXPECT_EQ(bare_handshake(rig, [](SSL_CTX*) {}), "TLSv1.3 ");
  EXPECT_EQ(bare_handshake(rig, alpn("\x02h2\x08http/1.1")), "TLSv1.3 http/1.1");
  EXPECT_NE(bare_handshake(rig, alpn("\x02h2")).find("no application protocol"), std::string::npos);
  EXPECT_EQ(
      bare_handshake(
          rig, [](SSL_CTX* context) { SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION); }),
      "TLSv1.2 ");
  EXPECT_NE(bare_handshake(rig,
                           [](SSL_CTX* context) {
                             SSL_CTX_set_security_level(context, 0);
                             SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
                             SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION);
                           })
                .find("protocol version"),
            std::string::npos);
}

TEST(TlsHandshakes, PlainTextOnATlsPortIsAnError) {
  HttpRig rig(Transport::tls, [](HttpRequest, std::unique_ptr<Responder>) {});
  rig.target.tls = nullptr;
  HttpClient client(rig.loop, rig.target);
  EXPECT_FALSE(rig.run(client, {}).result.has_value());
  EXPECT_TRUE(rig.run_until([&] { return rig.server.connections() == 0; }));
}

TEST(TlsHandshakes, TlsOnAPlainPortIsAnError) {
  HttpRig rig(Transport::tcp, [](HttpRequest, std::unique_ptr<Responder>) {});
  rig.target.tls = client_tls();
  HttpClient client(rig.loop, rig.target);
  const Outcome got = rig.run(client, {});
  ASSERT_FALSE(got.result.has_value());
  EXPECT_NE(got.result.error().message.find("TLS: "), std::string::npos);
}

TEST(TlsHandshakes, SilentPeersAreCutOff) {
  HttpRig rig(Transport::tls, [](HttpRequest, std::unique_ptr<Responder>) {},
              {.head_timeout = std::chrono::milliseconds(30)});
  HttpTarget plain = rig.target;
  plain.tls = nullptr;
  HttpClient client(rig.loop, plain);
  rig.target.tls = nullptr;
  const Fd fd = start_connect(rig.address).value();
  EXPECT_TRUE(rig.run_until([&] { return rig.server.connections() == 1; }));
  EXPECT_TRUE(rig.run_until([&] { return rig.server.connections() == 0; }));
}

TEST(Crypto, DigestsAndRandomBytes) {
  EXPECT_EQ(hex_encode(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(random_bytes(33).size(), 33u);
  EXPECT_NE(random_bytes(16), random_bytes(16));
  EXPECT_TRUE(equal_constant_time("same", "same"));
  EXPECT_FALSE(equal_constant_time("same", "sane"));
  EXPECT_FALSE(equal_constant_time("same", "samex"));
  EXPECT_TRUE(equal_constant_time("", ""));
}

}  // namespace
}  // namespace fairlead::net
