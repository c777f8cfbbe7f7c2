// What the tests of the ingress share: a cluster to build snapshots from, upstreams that do as they
// are told, and a client that sends bytes.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "api/snapshot.h"
#include "base/log.h"
#include "base/metrics.h"
#include "ingress/server.h"
#include "net/fd.h"

namespace fairlead::ingress::testing {

// Objects by the few fields that matter here; feeds a Server or a RouteBuilder.
class Cluster {
 public:
  // A Service with one TCP port named "http" and one slice. No endpoints: nothing is ready.
  void service(const std::string& name, const std::vector<SocketAddress>& endpoints,
               uint16_t port = 80, const std::string& ns = "default");
  // One rule: every path of `host` to `service`:80, class "fairlead".
  void ingress(const std::string& name, const std::string& host, const std::string& service,
               const std::string& tls_secret = "");
  void ingress_class(const std::string& name = "fairlead",
                     const std::string& controller = "fairlead.io/ingress", bool standard = false);
  void tls_secret(const std::string& name, const std::string& certificate_pem,
                  const std::string& key_pem);
  void put(api::Object object) { builder_.put(std::move(object)); }
  void erase(api::Kind kind, const std::string& name) { builder_.erase(kind, {"default", name}); }

  // The first call says that everything changed.
  api::SnapshotBuilder::Tick take() { return builder_.take(); }
  void publish_to(Server& server);

 private:
  api::SnapshotBuilder builder_;
};

api::Ingress make_ingress(const std::string& name, const std::string& host,
                          const std::string& service);

// A listener on 127.0.0.1 with a thread for each connection.
class TestUpstream {
 public:
  // Gets the connected descriptor and its number, from 0; the connection closes when it returns.
  using Serve = std::function<void(int fd, int number)>;
  explicit TestUpstream(Serve serve);
  ~TestUpstream();

  SocketAddress address() const { return address_; }
  int connections() const { return connections_.load(); }

 private:
  void run();

  Serve serve_;
  net::Fd listener_;
  SocketAddress address_;
  std::atomic<int> connections_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

// Answers every request with 200 and `body`, keep-alive, and keeps what it got.
class RecordingUpstream {
 public:
  explicit RecordingUpstream(std::string body = "ok");
  SocketAddress address() const { return upstream_.address(); }
  int connections() const { return upstream_.connections(); }
  std::vector<std::string> requests() const;  // head and body as they came
  void clear();

 private:
  void serve(int fd);

  std::string body_;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  TestUpstream upstream_;
};

// A blocking socket. Every wait ends after five seconds.
class Client {
 public:
  explicit Client(const SocketAddress& address, int socket_buffer_bytes = 0);

  bool send(std::string_view bytes);  // false: the connection is gone
  void shutdown_write();
  std::string read_some(int wait_ms = 5000);  // "" at the end of the stream or after the wait
  std::string read_all();                     // until the end of the stream
  // One whole response by its framing; "" when the stream ends before.
  std::string read_response(bool head_request = false);
  bool closed(int wait_ms = 5000);  // the peer has closed, and nothing is left to read
  int fd() const { return fd_.get(); }
  const std::string& left() const { return buffer_; }

 private:
  bool fill(int wait_ms);

  net::Fd fd_;
  std::string buffer_;
};

int status_of(std::string_view response);
std::string body_of(std::string_view response);
std::string field_of(std::string_view response, std::string_view name);

// Reads from `fd` until "\r\n\r\n"; "" at the end of the stream. What follows stays in `buffer`.
std::string read_head(int fd, std::string& buffer);
void write_all(int fd, std::string_view bytes);
std::string get(const std::string& host, const std::string& path = "/");

// Small enough for back pressure to show; still smaller ones stall on loopback, whose segments are
// 64 KiB.
inline constexpr int small_socket_buffer = 128 * 1024;
Limits quick_limits();  // every time-out is 300 ms

// A Server on ports of its own, with class "fairlead" in the cluster.
struct Ingress {
  explicit Ingress(Limits limits = {}, unsigned workers = 1, bool tls = false,
                   std::vector<Cidr> trusted = {});

  SocketAddress http() const { return address_of("http "); }
  SocketAddress https() const { return address_of("https "); }
  void publish() { cluster.publish_to(*server); }
  // Publishes, then waits until every worker has it.
  void publish_and_wait();
  std::string log_text();  // flushes by ending the server

  MemoryLogSink sink;
  Log log{sink};
  Registry registry;
  Cluster cluster;
  std::string directory;
  std::unique_ptr<Server> server;

  ~Ingress();

 private:
  SocketAddress address_of(std::string_view scheme) const;
};

// One Service "web" for every host.
void serve(Ingress& ingress, const std::vector<SocketAddress>& endpoints);

}  // namespace fairlead::ingress::testing
