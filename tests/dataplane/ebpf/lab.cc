#include "tests/dataplane/ebpf/lab.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "base/check.h"
#include "base/text.h"
#include "dataplane/ebpf/cgroup_links.h"

namespace fairlead::dataplane::test {
namespace {

template <class T>
T must(Result<T> result) {
  if (!result) ADD_FAILURE() << result.error().message;
  CHECK(result.has_value());
  return *std::move(result);
}
void must(const Result<void>& result) {
  if (!result) ADD_FAILURE() << result.error().message;
  CHECK(result.has_value());
}

sockaddr_in6 address6(const std::string& ip, uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  Ip parsed = *Ip::parse(ip);
  memcpy(&address.sin6_addr, parsed.bytes.data(), 16);
  return address;
}

// A socket address of the wanted family.
socklen_t make_address(const std::string& ip, uint16_t port, bool as_v6, sockaddr_storage& out) {
  sockaddr_in6 six = address6(ip, port);
  Ip parsed = *Ip::parse(ip);
  if (parsed.is_v4() && !as_v6) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    four.sin_addr.s_addr = htonl(parsed.to_v4());
    memcpy(&out, &four, sizeof four);
    return sizeof four;
  }
  memcpy(&out, &six, sizeof six);
  return sizeof six;
}

std::string text_of(const sockaddr_storage& address) {
  SocketAddress result;
  if (address.ss_family == AF_INET) {
    auto& four = reinterpret_cast<const sockaddr_in&>(address);
    result = {Ip::v4(ntohl(four.sin_addr.s_addr)), ntohs(four.sin_port)};
  } else {
    auto& six = reinterpret_cast<const sockaddr_in6&>(address);
    memcpy(result.ip.bytes.data(), &six.sin6_addr, 16);
    result.port = ntohs(six.sin6_port);
  }
  return result.to_string();
}

void join(const net::Netns& netns, const std::string& cgroup) {
  CHECK(setns(netns.fd(), CLONE_NEWNET) == 0);
  if (cgroup.empty()) return;
  std::ofstream out(cgroup + "/cgroup.procs");
  out << "0" << std::flush;
  CHECK(out.good());
}

std::string error_name(int error) {
  switch (error) {
    case ECONNREFUSED:
      return "ECONNREFUSED";
    case EHOSTUNREACH:
      return "EHOSTUNREACH";
    case ENETUNREACH:
      return "ENETUNREACH";
    case EPERM:
      return "EPERM";
    case EAGAIN:
      return "timeout";
    case EINPROGRESS:
      return "timeout";
    case ETIMEDOUT:
      return "timeout";
    default:
      return strerror(error);
  }
}

std::string dial_once(const Dial& request) {
  bool v6 = request.mapped || !Ip::parse(request.ip)->is_v4();
  bool tcp = request.protocol == Protocol::tcp;
  int type = tcp ? SOCK_STREAM : SOCK_DGRAM;
  net::Fd fd(socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0));
  timeval patience{1, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_storage address{};
  if (request.source_port != 0) {
    socklen_t length = make_address(v6 ? "::" : "0.0.0.0", request.source_port, v6, address);
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) return "bind failed";
  }
  socklen_t length = make_address(request.ip, request.port, v6, address);
  auto* target = reinterpret_cast<sockaddr*>(&address);
  bool connected = tcp || request.connect;
  if (connected && connect(fd.get(), target, length) != 0) return error_name(errno);
  ssize_t sent = connected ? send(fd.get(), "?", 1, MSG_NOSIGNAL)
                           : sendto(fd.get(), "?", 1, 0, target, length);
  if (sent != 1) return error_name(errno);
  char answer[128];
  sockaddr_storage peer{};
  socklen_t peer_length = sizeof peer;
  ssize_t got = recvfrom(fd.get(), answer, sizeof answer, 0, reinterpret_cast<sockaddr*>(&peer),
                         &peer_length);
  if (got < 0) return error_name(errno);
  if (connected) {
    peer_length = sizeof peer;
    getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &peer_length);
  }
  return cat(std::string_view(answer, static_cast<size_t>(got)), " from ", text_of(peer));
}

// Answers on both sockets until it is killed.
[[noreturn]] void serve(const std::string& name, int tcp, int udp) {
  std::vector<pollfd> fds = {{tcp, POLLIN, 0}, {udp, POLLIN, 0}};
  while (true) {
    poll(fds.data(), fds.size(), -1);
    for (size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].revents == 0) continue;
      sockaddr_storage peer{};
      socklen_t length = sizeof peer;
      auto* address = reinterpret_cast<sockaddr*>(&peer);
      if (i == 0) {
        int fd = accept(tcp, address, &length);
        if (fd >= 0) fds.push_back({fd, POLLIN, 0});
        break;
      }
      char byte[2048];
      ssize_t got = recvfrom(fds[i].fd, byte, sizeof byte, 0, address, &length);
      if (got <= 0 && i > 1) {
        close(fds[i].fd);
        fds.erase(fds.begin() + static_cast<ptrdiff_t>(i));
        break;
      }
      if (i > 1) getpeername(fds[i].fd, address, &(length = sizeof peer));
      std::string answer = cat(name, got > 1 ? cat(":", got) : std::string(), " ", text_of(peer));
      answer = answer.substr(0, answer.rfind(':'));  // the port is any
      if (i == 1)
        sendto(udp, answer.data(), answer.size(), 0, address, length);
      else
        send(fds[i].fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    }
  }
}

}  // namespace

std::string why_no_bpf() {
  if (geteuid() != 0) return "it needs root";
  EbpfSupport support = probe_ebpf();
  if (!support.connect || !support.tc)
    return cat("BPF programs do not load here: ", support.notes.at(0));
  if (auto root = ebpf::cgroup2_root(); !root) return root.error().message;
  return {};
}

std::string run_in(const net::Netns& netns, const std::string& cgroup,
                   const std::function<std::string()>& work) {
  int pipes[2];
  CHECK(pipe2(pipes, O_CLOEXEC) == 0);
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(pipes[0]);
    join(netns, cgroup);
    std::string result = work();
    [[maybe_unused]] ssize_t written = write(pipes[1], result.data(), result.size());
    _exit(0);
  }
  close(pipes[1]);
  std::string result;
  char buffer[4096];
  for (ssize_t got; (got = read(pipes[0], buffer, sizeof buffer)) > 0;) {
    result.append(buffer, static_cast<size_t>(got));
  }
  close(pipes[0]);
  waitpid(child, nullptr, 0);
  return result;
}

std::string dial(const Dial& request) {
  std::string lines;
  for (int i = 0; i < request.tries; ++i) lines += (i ? "\n" : "") + dial_once(request);
  return lines;
}

Server::Server(const net::Netns& netns, const std::string& name, const std::string& ip,
               uint16_t port)
    : port_(port) {
  net::Fd tcp, udp;
  {
    auto scope = must(net::NetnsScope::enter(netns));
    bool v6 = !Ip::parse(ip)->is_v4();
    sockaddr_storage address{};
    socklen_t length = make_address(ip, port, v6, address);
    tcp = net::Fd(socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    udp = net::Fd(socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    int one = 1;
    setsockopt(tcp.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    for (const net::Fd* fd : {&tcp, &udp}) {
      if (bind(fd->get(), reinterpret_cast<sockaddr*>(&address), length) != 0) {
        ADD_FAILURE() << "bind " << ip << ": " << strerror(errno);
      }
    }
    CHECK(listen(tcp.get(), 128) == 0);
  }
  child_ = fork();
  if (child_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    serve(name, tcp.get(), udp.get());
  }
}

Server::~Server() {
  if (child_ <= 0) return;
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
}

Lab::Lab() {
  char folder[] = "/tmp/fairlead-ebpf-XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  folder_ = folder;
  prefix_ = cat("fl", folder_.substr(folder_.size() - 6), "-");
  CHECK(mkdir(bpffs().c_str(), 0700) == 0);
  cgroup_ = cat(must(ebpf::cgroup2_root()), "/", prefix_, "node");
  CHECK(mkdir(cgroup_.c_str(), 0755) == 0);
}

Lab::~Lab() {
  for (auto& [name, netns] : netns_) must(net::Netns::remove(prefix_ + name));
  umount2(bpffs().c_str(), MNT_DETACH);
  EXPECT_EQ(rmdir(bpffs().c_str()), 0) << strerror(errno);
  EXPECT_EQ(rmdir(folder_.c_str()), 0) << strerror(errno);
  EXPECT_EQ(rmdir(cgroup_.c_str()), 0) << strerror(errno);
}

const net::Netns& Lab::netns(const std::string& name) {
  auto found = netns_.find(name);
  if (found == netns_.end()) {
    found = netns_.emplace(name, must(net::Netns::create(prefix_ + name))).first;
    sysctl(name, "net/ipv6/conf/default/accept_dad", "0");  // usable at once
  }
  return found->second;
}

namespace {

void configure(net::Netlink& netlink, const std::string& link,
               const std::vector<std::string>& ips) {
  for (const std::string& ip : ips) {
    size_t slash = ip.find('/');
    must(netlink.add_address(link, *Ip::parse(ip.substr(0, slash)), atoi(ip.c_str() + slash + 1)));
  }
  must(netlink.set_up(link));
}

}  // namespace

void Lab::link(const std::string& from, const std::string& from_if,
               const std::vector<std::string>& from_ips, const std::string& to,
               const std::string& to_if, const std::vector<std::string>& to_ips) {
  const net::Netns& there = netns(to);
  {
    auto scope = must(net::NetnsScope::enter(netns(from)));
    net::Netlink netlink = must(net::Netlink::open());
    must(netlink.add_veth(from_if, to_if, there.fd()));
    configure(netlink, from_if, from_ips);
  }
  auto scope = must(net::NetnsScope::enter(there));
  net::Netlink netlink = must(net::Netlink::open());
  configure(netlink, to_if, to_ips);
}

void Lab::route(const std::string& ns, const std::string& cidr, const std::string& gateway) {
  auto scope = must(net::NetnsScope::enter(netns(ns)));
  net::Netlink netlink = must(net::Netlink::open());
  net::RouteRequest request{.destination = *Cidr::parse(cidr)};
  request.gateway = *Ip::parse(gateway);
  must(netlink.add_route(request));
}

void Lab::sysctl(const std::string& ns, const std::string& key, const std::string& value) {
  auto scope = must(net::NetnsScope::enter(netns(ns)));
  must(net::write_sysctl(key, value));
}

EbpfOptions Lab::options() const {
  EbpfOptions options;
  options.bpffs = bpffs();
  options.cgroup = cgroup_;
  options.max_services = 1000;
  options.max_backends = 4000;
  options.max_conntrack = 8192;
  return options;
}

std::unique_ptr<Driver> Lab::driver(const EbpfOptions& options) {
  return make_ebpf_driver(options, loop_, Log(sink_, LogLevel::debug), registry_);
}

}  // namespace fairlead::dataplane::test
