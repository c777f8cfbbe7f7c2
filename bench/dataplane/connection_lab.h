// One client, one node, one server in network namespaces of their own, and the rate of new
// connections between them. Used by one program, one lab per way of balancing.
#pragma once

#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <string>

#include "base/check.h"
#include "base/ip.h"
#include "base/text.h"
#include "net/fd.h"
#include "net/netlink.h"
#include "net/netns.h"

namespace fairlead::bench {

template <class T>
T must(Result<T> result) {
  if (!result) fprintf(stderr, "bench_connections: %s\n", result.error().message.c_str());
  CHECK(result.has_value());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

// 10.1.0.2 (client) - 10.1.0.1 (node) 10.2.0.1 - 10.2.0.2:8080 (server).
class ConnectionLab {
 public:
  // `cgroup`: the folder that the client joins, or "".
  ConnectionLab(const std::string& name, const std::string& cgroup)
      : prefix_(cat("flb", ::getpid(), name)),
        node_(must(net::Netns::create(prefix_ + "n"))),
        client_(must(net::Netns::create(prefix_ + "c"))),
        server_(must(net::Netns::create(prefix_ + "s"))) {
    link(client_, "c0", 1);
    link(server_, "s0", 2);
    inside(node_, [] { must(net::write_sysctl("net/ipv4/ip_forward", "1")); });
    inside(client_, [] { must(net::write_sysctl("net/ipv4/ip_local_port_range", "1024 65535")); });
    start_server();
    start_client(cgroup);
  }
  ~ConnectionLab() {
    for (const pid_t child : {server_pid_, client_pid_}) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
    for (const char* end : {"n", "c", "s"}) must(net::Netns::remove(prefix_ + end));
  }
  ConnectionLab(const ConnectionLab&) = delete;
  ConnectionLab& operator=(const ConnectionLab&) = delete;

  template <class Body>
  void in_node(Body body) {
    inside(node_, body);
  }

  // Connections per second: one at a time, a byte there and back, closed with RST.
  double rate(const SocketAddress& to, int duration_ms) {
    const Order order{to.ip.to_v4(), to.port, duration_ms};
    CHECK(::write(order_pipe_.get(), &order, sizeof order) == sizeof order);
    double answer = 0;
    CHECK(::read(answer_pipe_.get(), &answer, sizeof answer) == sizeof answer);
    return answer;
  }

 private:
  struct Order {
    uint32_t ip;
    uint16_t port;
    int duration_ms;
  };

  template <class Body>
  static void inside(const net::Netns& netns, Body body) {
    const auto scope = must(net::NetnsScope::enter(netns));
    body();
  }

  void link(const net::Netns& far, const std::string& name, uint32_t number) {
    const uint32_t network = 10u << 24 | number << 16;
    inside(node_, [&] {
      auto netlink = must(net::Netlink::open());
      must(netlink.add_veth(name, "eth0", far.fd()));
      must(netlink.add_address(name, Ip::v4(network + 1), 24));
      must(netlink.set_up(name));
    });
    inside(far, [&] {
      auto netlink = must(net::Netlink::open());
      must(netlink.add_address("eth0", Ip::v4(network + 2), 24));
      must(netlink.set_up("eth0"));
      must(netlink.add_route({*Cidr::parse("0.0.0.0/0"), Ip::v4(network + 1), "", {}}));
    });
  }

  static sockaddr_in native(uint32_t ip, uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(ip);
    return address;
  }

  void start_server() {
    net::Fd listener;
    inside(server_, [&] {
      listener = net::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const sockaddr_in address = native(INADDR_ANY, 8080);
      CHECK(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
            0);
      CHECK(::listen(listener.get(), 1024) == 0);
    });
    server_pid_ = ::fork();
    if (server_pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
      const net::Fd talk(::accept(listener.get(), nullptr, nullptr));
      char byte;
      if (::recv(talk.get(), &byte, 1, 0) == 1) ::send(talk.get(), &byte, 1, MSG_NOSIGNAL);
      ::recv(talk.get(), &byte, 1, 0);  // the client closes first
    }
  }

  void start_client(const std::string& cgroup) {
    int orders[2], answers[2];
    CHECK(::pipe(orders) == 0 && ::pipe(answers) == 0);
    client_pid_ = ::fork();
    if (client_pid_ != 0) {
      ::close(orders[0]);
      ::close(answers[1]);
      order_pipe_ = net::Fd(orders[1]);
      answer_pipe_ = net::Fd(answers[0]);
      return;
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!cgroup.empty()) {
      std::ofstream procs(cgroup + "/cgroup.procs");
      procs << "0" << std::flush;
      CHECK(procs.good());
    }
    const auto scope = must(net::NetnsScope::enter(client_));
    Order order;
    while (::read(orders[0], &order, sizeof order) == sizeof order) {
      const double answer = dial_for(order);
      CHECK(::write(answers[1], &answer, sizeof answer) == sizeof answer);
    }
    ::_exit(0);
  }

  static double dial_for(const Order& order) {
    using Clock = std::chrono::steady_clock;
    const sockaddr_in address = native(order.ip, order.port);
    const linger reset{1, 0};
    const auto begin = Clock::now();
    const auto end = begin + std::chrono::milliseconds(order.duration_ms);
    uint64_t count = 0;
    Clock::time_point now;
    do {
      const net::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      char byte = '?';
      CHECK(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
      CHECK(::send(fd.get(), &byte, 1, MSG_NOSIGNAL) == 1);
      CHECK(::recv(fd.get(), &byte, 1, 0) == 1);
      ++count;
      now = Clock::now();
    } while (now < end);
    return static_cast<double>(count) / std::chrono::duration<double>(now - begin).count();
  }

  const std::string prefix_;
  const net::Netns node_, client_, server_;
  pid_t server_pid_ = -1, client_pid_ = -1;
  net::Fd order_pipe_, answer_pipe_;
};

}  // namespace fairlead::bench
