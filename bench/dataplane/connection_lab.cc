#include "bench/dataplane/connection_lab.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include <chrono>
#include <fstream>
#include <numeric>

#include "base/text.h"
#include "net/netlink.h"

namespace fairlead::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint16_t server_port = 8080;

sockaddr_in native(uint32_t ip, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(ip);
  return address;
}

const sockaddr* plain(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

net::Fd open_socket(int type) {
  net::Fd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  CHECK(fd.get() >= 0);
  return fd;
}

net::Fd bound(int type) {
  net::Fd fd = open_socket(type);
  const sockaddr_in address = native(INADDR_ANY, server_port);
  CHECK(::bind(fd.get(), plain(address), sizeof address) == 0);
  return fd;
}

[[noreturn]] void serve_connections(int listener) {
  for (;;) {
    const net::Fd talk(::accept(listener, nullptr, nullptr));
    char byte;
    if (::recv(talk.get(), &byte, 1, 0) == 1) ::send(talk.get(), &byte, 1, MSG_NOSIGNAL);
    ::recv(talk.get(), &byte, 1, 0);  // the client closes first
  }
}

[[noreturn]] void serve_datagrams(int fd) {
  for (;;) {
    char byte;
    sockaddr_in from{};
    socklen_t size = sizeof from;
    if (::recvfrom(fd, &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size) != 1) continue;
    ::sendto(fd, &byte, 1, MSG_NOSIGNAL, plain(from), size);
  }
}

void exchange(int fd) {
  char byte = '?';
  CHECK(::send(fd, &byte, 1, MSG_NOSIGNAL) == 1);
  CHECK(::recv(fd, &byte, 1, 0) == 1);
}

double ns_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}

double connection_ns(const sockaddr_in& to, bool connect_only) {
  const linger reset{1, 0};
  double connected = 0;
  const auto begin = Clock::now();
  {
    const net::Fd fd = open_socket(SOCK_STREAM);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const auto before = Clock::now();
    CHECK(::connect(fd.get(), plain(to), sizeof to) == 0);
    connected = ns_since(before);
    exchange(fd.get());
  }
  return connect_only ? connected : ns_since(begin);
}

double datagram_ns(const sockaddr_in& to) {
  const timeval patience{2, 0};
  const net::Fd fd = open_socket(SOCK_DGRAM);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const auto begin = Clock::now();
  CHECK(::connect(fd.get(), plain(to), sizeof to) == 0);
  exchange(fd.get());
  return ns_since(begin);
}

// Everything from the first packet to the last, the server's part and the node's, too, since one
// CPU does it all.
double connection_ticks(const sockaddr_in& to) {
  static uint64_t last = __rdtsc();
  {
    const net::Fd fd = open_socket(SOCK_STREAM);
    CHECK(::connect(fd.get(), plain(to), sizeof to) == 0);
    exchange(fd.get());
    ::shutdown(fd.get(), SHUT_WR);
    char byte;
    CHECK(::recv(fd.get(), &byte, 1, 0) == 0);
  }
  const uint64_t now = __rdtsc();
  return static_cast<double>(now - std::exchange(last, now));
}

double measured(const sockaddr_in& to, Measure measure) {
  switch (measure) {
    case Measure::whole:
    case Measure::connect:
      return connection_ns(to, measure == Measure::connect);
    case Measure::datagram:
      return datagram_ns(to);
    case Measure::ticks:
      return connection_ticks(to);
  }
  CHECK(false);
}

void write_all(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t put = ::write(fd, at, size);
    CHECK(put > 0);
    at += put;
    size -= static_cast<size_t>(put);
  }
}

void read_all(int fd, void* data, size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = ::read(fd, at, size);
    CHECK(got > 0);
    at += got;
    size -= static_cast<size_t>(got);
  }
}

}  // namespace

// Until `count` requests or the time, what comes first.
struct ConnectionLab::Order {
  uint32_t ip = 0;
  uint16_t port = 0;
  Measure measure = Measure::whole;
  uint32_t count = 0;
  int64_t duration_ns = 0;
};

ConnectionLab::ConnectionLab(const std::string& name, const std::string& cgroup)
    : prefix_(cat("flb", ::getpid(), name)),
      node_(must(net::Netns::create(prefix_ + "n"))),
      client_(must(net::Netns::create(prefix_ + "c"))),
      server_(must(net::Netns::create(prefix_ + "s"))) {
  link(client_, "c0", 1);
  link(server_, "s0", 2);
  in_node([] { must(net::write_sysctl("net/ipv4/ip_forward", "1")); });
  {
    const auto scope = must(net::NetnsScope::enter(client_));
    must(net::write_sysctl("net/ipv4/ip_local_port_range", "1024 65535"));
  }
  start_servers();
  start_client(cgroup);
}

ConnectionLab::~ConnectionLab() {
  for (const pid_t child : children_) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  for (const char* end : {"n", "c", "s"}) must(net::Netns::remove(prefix_ + end));
}

void ConnectionLab::link(const net::Netns& far, const std::string& name, uint32_t number) {
  const uint32_t network = 10u << 24 | number << 16;
  in_node([&] {
    auto netlink = must(net::Netlink::open());
    must(netlink.add_veth(name, "eth0", far.fd()));
    must(netlink.add_address(name, Ip::v4(network + 1), 24));
    must(netlink.set_up(name));
  });
  const auto scope = must(net::NetnsScope::enter(far));
  auto netlink = must(net::Netlink::open());
  must(netlink.add_address("eth0", Ip::v4(network + 2), 24));
  must(netlink.set_up("eth0"));
  must(netlink.add_route({*Cidr::parse("0.0.0.0/0"), Ip::v4(network + 1), "", {}}));
}

void ConnectionLab::start_servers() {
  net::Fd listener, datagrams;
  {
    const auto scope = must(net::NetnsScope::enter(server_));
    listener = bound(SOCK_STREAM);
    CHECK(::listen(listener.get(), 1024) == 0);
    datagrams = bound(SOCK_DGRAM);
  }
  for (const bool tcp : {true, false}) {
    children_.push_back(::fork());
    if (children_.back() != 0) continue;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    tcp ? serve_connections(listener.get()) : serve_datagrams(datagrams.get());
  }
}

void ConnectionLab::start_client(const std::string& cgroup) {
  int orders[2], answers[2];
  CHECK(::pipe(orders) == 0 && ::pipe(answers) == 0);
  children_.push_back(::fork());
  if (children_.back() != 0) {
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
    const sockaddr_in to = native(order.ip, order.port);
    std::vector<double> values;
    const auto end = Clock::now() + std::chrono::nanoseconds(order.duration_ns);
    while (values.size() < order.count && (values.empty() || Clock::now() < end)) {
      values.push_back(measured(to, order.measure));
    }
    const size_t count = values.size();
    write_all(answers[1], &count, sizeof count);
    write_all(answers[1], values.data(), count * sizeof(double));
  }
  ::_exit(0);
}

std::vector<double> ConnectionLab::carry_out(const Order& order) {
  write_all(order_pipe_.get(), &order, sizeof order);
  size_t count = 0;
  read_all(answer_pipe_.get(), &count, sizeof count);
  std::vector<double> values(count);
  read_all(answer_pipe_.get(), values.data(), count * sizeof(double));
  return values;
}

std::vector<double> ConnectionLab::samples(const SocketAddress& to, Measure measure,
                                           uint32_t count) {
  constexpr int64_t an_hour = 3'600'000'000'000;
  return carry_out({to.ip.to_v4(), to.port, measure, count, an_hour});
}

double ConnectionLab::rate(const SocketAddress& to, int duration_ms) {
  const auto took =
      carry_out({to.ip.to_v4(), to.port, Measure::whole, UINT32_MAX, duration_ms * 1'000'000ll});
  return static_cast<double>(took.size()) / std::accumulate(took.begin(), took.end(), 0.0) * 1e9;
}

}  // namespace fairlead::bench
