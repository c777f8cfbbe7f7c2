// A place to try the eBPF driver with real sockets: network namespaces, a child cgroup and a bpffs
// of its own, and child processes that listen and dial. Everything goes when it is destroyed.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/ebpf/driver.h"
#include "net/netlink.h"
#include "net/netns.h"
#include "tests/dataplane/ebpf/tables.h"

namespace fairlead::dataplane::test {

// "" when tests here can use BPF; else why not.
std::string why_no_bpf();

// First line of each test that needs the kernel: skips loudly, but fails in CI.
#define REQUIRE_BPF()                                                                      \
  if (std::string why_ = ::fairlead::dataplane::test::why_no_bpf(); !why_.empty()) {       \
    if (const char* ci_ = getenv("CI"); ci_ && std::string(ci_) == "true") FAIL() << why_; \
    GTEST_SKIP() << "NOT TESTED, because " << why_;                                        \
  }

// Runs `work` in a forked child, in that namespace and cgroup ("" = where this process is), and
// returns what it returns.
std::string run_in(const net::Netns& netns, const std::string& cgroup,
                   const std::function<std::string()>& work);

struct Dial {
  std::string ip;
  uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  bool connect = true;  // UDP: connect() first, or sendto() and recvfrom()
  bool mapped = false;  // IPv4 through an IPv6 socket
  int tries = 1;        // one socket each
  uint16_t source_port = 0;
};

// What a client sees, one line a try: "<answer> from <peer>", where the answer is "<server name>
// <address that the server saw>" and the peer is what getpeername() or recvfrom() said; or the
// name of an error ("ECONNREFUSED"), "timeout".
std::string dial(const Dial& request);

// A child process that answers TCP connections and datagrams with its name and the client's
// address. A TCP connection is answered again for every byte that it sends.
class Server {
 public:
  Server(const net::Netns& netns, const std::string& name, const std::string& ip, uint16_t port);
  ~Server();
  Server(const Server&) = delete;
  uint16_t port() const { return port_; }

 private:
  pid_t child_ = -1;
  uint16_t port_;
};

class Lab {
 public:
  Lab();
  ~Lab();

  const net::Netns& netns(const std::string& name);  // made when new
  // A veth pair; addresses like "10.1.0.1/24". Both ends up.
  void link(const std::string& from, const std::string& from_if,
            const std::vector<std::string>& from_ips, const std::string& to,
            const std::string& to_if, const std::vector<std::string>& to_ips);
  void route(const std::string& ns, const std::string& cidr, const std::string& gateway);
  void sysctl(const std::string& ns, const std::string& key, const std::string& value);

  const std::string& cgroup() const { return cgroup_; }
  std::string bpffs() const { return folder_ + "/bpffs"; }
  EbpfOptions options() const;
  net::EventLoop& loop() { return loop_; }
  std::unique_ptr<Driver> driver() { return driver(options()); }
  std::unique_ptr<Driver> driver(const EbpfOptions& options);  // not started
  Registry& registry() { return registry_; }
  std::string log() const { return sink_.text(); }

 private:
  std::string folder_, cgroup_, prefix_;
  std::map<std::string, net::Netns> netns_;
  MemoryLogSink sink_;
  Registry registry_;
  net::EventLoop loop_;
};

}  // namespace fairlead::dataplane::test
