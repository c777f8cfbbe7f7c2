// A server and a client on one loop, over each kind of transport, for the tests of this room.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "net/event_loop.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/tls.h"

namespace fairlead::net {

enum class Transport { tcp, tls, unix_socket };

inline std::string transport_name(Transport transport) {
  return transport == Transport::tcp ? "tcp" : transport == Transport::tls ? "tls" : "unix";
}

class TempDir {
 public:
  TempDir() {
    char pattern[] = "/tmp/fairlead-net-XXXXXX";
    path_ = ::mkdtemp(pattern);
  }
  ~TempDir() {
    ::unlink(file("socket").c_str());
    ::rmdir(path_.c_str());
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// An authority with one server certificate (localhost, 127.0.0.1) and one client certificate.
struct TestPki {
  CertificatePair authority, server, client;

  static const TestPki& get() {
    static const TestPki pki = make();
    return pki;
  }

 private:
  static TestPki make() {
    TestPki pki;
    pki.authority = self_signed({.common_name = "test authority", .is_authority = true}).value();
    pki.server = issue({.common_name = "server",
                        .dns_names = {"localhost"},
                        .ips = {*Ip::parse("127.0.0.1"), *Ip::parse("::1")}},
                       pki.authority)
                     .value();
    pki.client = issue({.common_name = "alice",
                        .organizations = {"system:masters", "dev"},
                        .for_client = true},
                       pki.authority)
                     .value();
    return pki;
  }
};

inline std::shared_ptr<const TlsContext> server_tls() {
  const TestPki& pki = TestPki::get();
  return TlsContext::server({.certificate_pem = pki.server.certificate_pem,
                             .key_pem = pki.server.key_pem,
                             .client_ca_pem = pki.authority.certificate_pem})
      .value();
}

inline std::shared_ptr<const TlsContext> client_tls(bool with_certificate = true) {
  const TestPki& pki = TestPki::get();
  return TlsContext::client({.ca_pem = pki.authority.certificate_pem,
                             .certificate_pem = with_certificate ? pki.client.certificate_pem : "",
                             .key_pem = with_certificate ? pki.client.key_pem : ""})
      .value();
}

// What came back for one call.
struct Outcome {
  int heads = 0;
  int dones = 0;
  HttpHead head;
  std::string body;
  Result<void> result;

  HttpCallbacks callbacks() {
    HttpCallbacks made;
    made.on_head = [this](const HttpHead& got) {
      ++heads;
      head = got;
    };
    made.on_data = [this](std::string_view bytes) { body += bytes; };
    made.on_done = [this](Result<void> got) {
      ++dones;
      result = std::move(got);
    };
    return made;
  }
};

class HttpRig {
 public:
  explicit HttpRig(Transport transport, HttpServer::Handler handler,
                   HttpServer::Options options = {})
      : server(loop, Log(sink), std::move(handler), options) {
    if (transport == Transport::unix_socket) {
      target.unix_path = dir.file("socket");
      EXPECT_TRUE(server.listen_unix(target.unix_path).has_value());
      return;
    }
    const bool tls = transport == Transport::tls;
    const auto bound =
        server.listen(*SocketAddress::parse("127.0.0.1:0"), tls ? server_tls() : nullptr);
    EXPECT_TRUE(bound.has_value()) << bound.error().message;
    address = *bound;
    target.host = "127.0.0.1";
    target.port = bound->port;
    if (tls) target.tls = client_tls();
  }

  // Turns the loop until `done`, for at most `limit`.
  bool run_until(const std::function<bool()>& done, Duration limit = std::chrono::seconds(10)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      loop.run_once(std::chrono::milliseconds(10));
    }
    return true;
  }

  Outcome run(HttpClient& client, HttpRequest request) {
    Outcome outcome;
    const auto call = client.call(std::move(request), outcome.callbacks());
    EXPECT_TRUE(run_until([&] { return outcome.dones > 0; }));
    return outcome;
  }

  EventLoop loop;
  MemoryLogSink sink;
  TempDir dir;
  HttpServer server;
  HttpTarget target;
  SocketAddress address;
};

}  // namespace fairlead::net
