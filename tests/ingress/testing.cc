#include "tests/ingress/testing.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "net/socket.h"

namespace fairlead::ingress::testing {
namespace {

SocketAddress any_port() { return {*Ip::parse("127.0.0.1"), 0}; }

bool wait_readable(int fd, int wait_ms) {
  pollfd poll_fd{.fd = fd, .events = POLLIN};
  return ::poll(&poll_fd, 1, wait_ms) == 1;
}

std::string lower(std::string_view text) { return to_lower(text); }

}  // namespace

api::Ingress make_ingress(const std::string& name, const std::string& host,
                          const std::string& service) {
  api::Ingress ingress;
  ingress.meta.key = {"default", name};
  ingress.class_name = "fairlead";
  api::IngressPath path{.path = "/", .type = api::PathType::prefix};
  path.backend = {.service = service, .port_number = 80};
  ingress.rules.push_back({.host = host, .has_http = true, .paths = {path}});
  return ingress;
}

void Cluster::service(const std::string& name, const std::vector<SocketAddress>& endpoints,
                      uint16_t port, const std::string& ns) {
  api::Service service;
  service.meta.key = {ns, name};
  service.ports.push_back({.name = "http", .port = port});
  builder_.put(std::make_shared<const api::Service>(service));
  for (const auto& [kind, key] : [&] {
         std::vector<std::pair<api::Kind, api::ObjectKey>> old;
         for (const auto& each : builder_.keys(api::Kind::endpoint_slice)) {
           if (each.ns == ns && each.name.starts_with(name + "-slice-")) {
             old.emplace_back(api::Kind::endpoint_slice, each);
           }
         }
         return old;
       }()) {
    builder_.erase(kind, key);
  }
  for (size_t i = 0; i < endpoints.size(); ++i) {  // one slice each: ports may differ
    api::EndpointSlice slice;
    slice.meta.key = {ns, cat(name, "-slice-", i)};
    slice.service = name;
    slice.address_type = "IPv4";
    slice.ports.push_back({.name = "http", .port = endpoints[i].port});
    slice.endpoints.push_back({.addresses = {endpoints[i].ip}});
    builder_.put(std::make_shared<const api::EndpointSlice>(slice));
  }
}

void Cluster::ingress(const std::string& name, const std::string& host, const std::string& service,
                      const std::string& tls_secret) {
  api::Ingress ingress = make_ingress(name, host, service);
  if (!tls_secret.empty()) ingress.tls.push_back({.hosts = {host}, .secret_name = tls_secret});
  builder_.put(std::make_shared<const api::Ingress>(ingress));
}

void Cluster::ingress_class(const std::string& name, const std::string& controller, bool standard) {
  api::IngressClass ingress_class;
  ingress_class.meta.key = {"", name};
  ingress_class.controller = controller;
  if (standard) {
    ingress_class.meta.annotations["ingressclass.kubernetes.io/is-default-class"] = "true";
  }
  builder_.put(std::make_shared<const api::IngressClass>(ingress_class));
}

void Cluster::tls_secret(const std::string& name, const std::string& certificate_pem,
                         const std::string& key_pem) {
  api::Secret secret;
  secret.meta.key = {"default", name};
  secret.type = "kubernetes.io/tls";
  secret.data = {{"tls.crt", certificate_pem}, {"tls.key", key_pem}};
  builder_.put(std::make_shared<const api::Secret>(secret));
}

void Cluster::publish_to(Server& server) {
  auto tick = builder_.take();
  server.publish(tick.snapshot, tick.changes);
}

TestUpstream::TestUpstream(Serve serve) : serve_(std::move(serve)) {
  auto listener = net::listen_tcp(any_port());
  if (!listener) ADD_FAILURE() << listener.error().message;
  listener_ = *std::move(listener);
  address_ = *net::local_address(listener_.get());
  acceptor_ = std::thread([this] { run(); });
}

void TestUpstream::run() {
  while (!stopped_) {
    if (!wait_readable(listener_.get(), 50)) continue;
    const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const int number = connections_++;
    const std::lock_guard lock(mutex_);
    open_.push_back(fd);
    threads_.emplace_back([this, fd, number] {
      serve_(fd, number);
      const std::lock_guard inner(mutex_);
      std::erase(open_, fd);
      ::close(fd);
    });
  }
}

TestUpstream::~TestUpstream() {
  stopped_ = true;
  acceptor_.join();
  {
    const std::lock_guard lock(mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  for (auto& thread : threads_) thread.join();
}

RecordingUpstream::RecordingUpstream(std::string body)
    : body_(std::move(body)), upstream_([this](int fd, int) { serve(fd); }) {}

void RecordingUpstream::serve(int fd) {
  std::string buffer;
  for (;;) {
    std::string request = read_head(fd, buffer);
    if (request.empty()) return;
    const auto fill = [&] {
      char bytes[4096];
      const ssize_t got = ::recv(fd, bytes, sizeof bytes, 0);
      if (got > 0) buffer.append(bytes, static_cast<size_t>(got));
      return got > 0;
    };
    if (const std::string length = field_of(request, "content-length"); !length.empty()) {
      const auto size = static_cast<size_t>(*parse_int(length));
      while (buffer.size() < size) {
        if (!fill()) return;
      }
      request += buffer.substr(0, size);
      buffer.erase(0, size);
    } else if (!field_of(request, "transfer-encoding").empty()) {
      while (!buffer.ends_with("0\r\n\r\n")) {
        if (!fill()) return;
      }
      request += buffer;
      buffer.clear();
    }
    const bool head = request.starts_with("HEAD ");
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(std::move(request));
    }
    write_all(fd, cat("HTTP/1.1 200 OK\r\nContent-Length: ", body_.size(), "\r\n\r\n",
                      head ? "" : body_));
  }
}

std::vector<std::string> RecordingUpstream::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void RecordingUpstream::clear() {
  const std::lock_guard lock(mutex_);
  requests_.clear();
}

Client::Client(const SocketAddress& address, int socket_buffer_bytes)
    : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (socket_buffer_bytes > 0) {
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &socket_buffer_bytes, sizeof(int));
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &socket_buffer_bytes, sizeof(int));
  }
  const int on = 1;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const auto raw = net::to_raw(address);
  if (::connect(fd_.get(), raw.get(), raw.size) != 0) ADD_FAILURE() << "connect: " << errno;
}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void Client::shutdown_write() { ::shutdown(fd_.get(), SHUT_WR); }

bool Client::fill(int wait_ms) {
  if (!wait_readable(fd_.get(), wait_ms)) return false;
  char bytes[16384];
  const ssize_t got = ::recv(fd_.get(), bytes, sizeof bytes, 0);
  if (got <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(got));
  return true;
}

std::string Client::read_some(int wait_ms) {
  if (buffer_.empty()) fill(wait_ms);
  return std::exchange(buffer_, {});
}

std::string Client::read_all() {
  while (fill(5000)) {
  }
  return std::exchange(buffer_, {});
}

std::string Client::read_response(bool head_request) {
  size_t head = 0;
  while ((head = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill(5000)) return {};
  }
  head += 4;
  const std::string text = buffer_.substr(0, head);
  const int status = status_of(text);
  size_t size = head;
  if (!head_request && status >= 200 && status != 204 && status != 304) {
    if (const std::string length = field_of(text, "content-length"); !length.empty()) {
      size += static_cast<size_t>(*parse_int(length));
      while (buffer_.size() < size) {
        if (!fill(5000)) return {};
      }
    } else if (!field_of(text, "transfer-encoding").empty()) {
      size_t end = 0;
      while ((end = buffer_.find("0\r\n\r\n", head)) == std::string::npos) {
        if (!fill(5000)) return {};
      }
      size = end + 5;
    } else {
      while (fill(5000)) {
      }
      size = buffer_.size();
    }
  }
  std::string response = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return response;
}

bool Client::closed(int wait_ms) {
  if (!buffer_.empty()) return false;
  if (!wait_readable(fd_.get(), wait_ms)) return false;
  char byte;
  return ::recv(fd_.get(), &byte, 1, MSG_PEEK) <= 0;
}

int status_of(std::string_view response) {
  if (!response.starts_with("HTTP/1.1 ") || response.size() < 12) return 0;
  return static_cast<int>(parse_int(response.substr(9, 3)).value_or(0));
}

std::string body_of(std::string_view response) {
  const size_t head = response.find("\r\n\r\n");
  return head == std::string_view::npos ? "" : std::string(response.substr(head + 4));
}

std::string field_of(std::string_view message, std::string_view name) {
  const std::string head = std::string(message.substr(0, message.find("\r\n\r\n"))) + "\r\n";
  const std::string key = cat("\r\n", lower(name), ":");
  const size_t at = lower(head).find(key);
  if (at == std::string::npos) return {};
  const size_t start = at + key.size();
  return std::string(trim(head.substr(start, head.find("\r\n", start) - start)));
}

std::string read_head(int fd, std::string& buffer) {
  size_t end = 0;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
    char bytes[4096];
    const ssize_t got = ::recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) return {};
    buffer.append(bytes, static_cast<size_t>(got));
  }
  std::string head = buffer.substr(0, end + 4);
  buffer.erase(0, end + 4);
  return head;
}

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string get(const std::string& host, const std::string& path) {
  return cat("GET ", path, " HTTP/1.1\r\nHost: ", host, "\r\n\r\n");
}

Ingress::Ingress(Limits limits, unsigned workers, bool tls, std::vector<Cidr> trusted) {
  char pattern[] = "/tmp/fairlead-ingress-XXXXXX";
  directory = ::mkdtemp(pattern);
  Config config;
  config.http = {any_port()};
  config.https.clear();
  if (tls) config.https = {any_port()};
  config.workers = workers;
  config.access_log = directory + "/access.log";
  config.trusted_proxies = std::move(trusted);
  config.limits = limits;
  cluster.ingress_class();
  auto created = Server::create(config, log, registry);
  if (!created) ADD_FAILURE() << created.error().message;
  server = *std::move(created);
  const auto started = server->start();
  if (!started) ADD_FAILURE() << started.error().message;
}

Ingress::~Ingress() {
  server.reset();
  std::filesystem::remove_all(directory);
}

SocketAddress Ingress::address_of(std::string_view scheme) const {
  for (const std::string& text : server->status().listening) {
    if (text.starts_with(scheme)) {
      return *SocketAddress::parse(std::string_view(text).substr(scheme.size()));
    }
  }
  ADD_FAILURE() << "no listener " << scheme;
  return {};
}

void Ingress::publish_and_wait() {
  publish();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

std::string Ingress::log_text() {
  server.reset();
  std::ifstream in(directory + "/access.log");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Limits quick_limits() {
  Limits limits;
  limits.header_timeout = std::chrono::milliseconds(300);
  limits.keep_alive_timeout = std::chrono::milliseconds(300);
  limits.body_timeout = std::chrono::milliseconds(300);
  limits.connect_timeout = std::chrono::milliseconds(300);
  limits.response_timeout = std::chrono::milliseconds(300);
  limits.tunnel_timeout = std::chrono::milliseconds(300);
  limits.upstream_idle_timeout = std::chrono::milliseconds(300);
  return limits;
}

void serve(Ingress& ingress, const std::vector<SocketAddress>& endpoints) {
  ingress.cluster.service("web", endpoints);
  ingress.cluster.ingress("web", "", "web");
  ingress.publish_and_wait();
}

}  // namespace fairlead::ingress::testing
