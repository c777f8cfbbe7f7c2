// A backend for labs and demos: says over HTTP and UDP who it is and what it was asked.
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>

#include "api/json.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/signals.h"
#include "net/http_server.h"

namespace fairlead::cli {
namespace {

struct EchoFlags {
  std::string name;
  std::vector<SocketAddress> http{{Ip{}, 8080}};
  std::vector<SocketAddress> udp;
};

std::vector<agent::Option<EchoFlags>> echo_options() {
  return {
      agent::option("name", "NAME", "what it calls itself", &EchoFlags::name),
      agent::option("http", "ADDRS", "HTTP addresses", &EchoFlags::http),
      agent::option("udp", "ADDRS", "UDP addresses: answers 'NAME DATAGRAM'", &EchoFlags::udp),
  };
}

net::HttpResponse answer(const std::string& name, const net::HttpRequest& request) {
  json::object headers;
  for (const auto& [key, value] : request.headers) headers[key] = value;
  const json::value body{{"name", name},
                         {"method", request.method},
                         {"target", request.target},
                         {"client", request.peer.address},
                         {"bodyBytes", request.body.size()},
                         {"headers", std::move(headers)}};
  auto response = net::HttpResponse::json(200, json::serialize(body) + "\n");
  response.headers.set("X-Backend", name);
  return response;
}

class UdpEcho {
 public:
  static Result<std::unique_ptr<UdpEcho>> open(net::EventLoop& loop, const SocketAddress& address,
                                               std::string name) {
    auto echo = std::unique_ptr<UdpEcho>(new UdpEcho(std::move(name)));
    echo->fd_ = net::Fd(socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int off = 0;
    setsockopt(echo->fd_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    sockaddr_in6 local{};
    local.sin6_family = AF_INET6;
    local.sin6_port = htons(address.port);
    std::memcpy(&local.sin6_addr, address.ip.bytes.data(), 16);
    if (bind(echo->fd_.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) {
      return fail(cat("--udp ", address.to_string(), ": ", std::strerror(errno)));
    }
    UdpEcho* self = echo.get();
    echo->watch_ = loop.watch(echo->fd_.get(), EPOLLIN, [self](uint32_t) { self->answer(); });
    return echo;
  }

 private:
  explicit UdpEcho(std::string name) : name_(std::move(name)) {}
  void answer() {
    char datagram[2048];
    sockaddr_in6 from{};
    socklen_t size = sizeof from;
    const ssize_t got = recvfrom(fd_.get(), datagram, sizeof datagram, 0,
                                 reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) return;
    const std::string reply = cat(name_, ' ', std::string_view(datagram, static_cast<size_t>(got)));
    sendto(fd_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
  }

  std::string name_;
  net::Fd fd_;
  net::Watch watch_;
};

int run(const Flags<EchoFlags>& flags) {
  const auto config = flags.read();
  if (!config) return report_failure("echo", config.error().message);
  StopSignals signals;
  FdLogSink sink(2);
  const Log log(sink);
  net::EventLoop loop;
  net::HttpServer server(loop, log, [&](net::HttpRequest request, auto responder) {
    responder->send(answer(config->name, request));
  });
  for (const auto& address : config->http) {
    if (auto bound = server.listen(address); !bound) {
      return report_failure("echo", bound.error().message);
    }
  }
  std::vector<std::unique_ptr<UdpEcho>> udp;
  for (const auto& address : config->udp) {
    auto echo = UdpEcho::open(loop, address, config->name);
    if (!echo) return report_failure("echo", echo.error().message);
    udp.push_back(std::move(*echo));
  }
  const net::Watch stopping = signals.watch(loop, [&] { loop.stop(); });
  loop.run();
  return 0;
}

}  // namespace

void add_echo(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags<EchoFlags>>(echo_options());
  auto* command = app.add_subcommand("echo", "a demo backend that says who it is");
  flags->add_to(*command);
  command->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace fairlead::cli
