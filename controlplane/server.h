// The control plane as one object: store, API server and controllers. Everything else, even in
// the same process, talks to it over its HTTP API.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"

namespace fairlead::controlplane {

struct Config {
  std::string data_dir;                            // made with mode 0700 when it is absent
  SocketAddress listen{Ip::v4(0x7f000001), 6443};  // TLS; port 0 picks a free one
  std::string unix_socket;                         // plain HTTP on a unix socket; "" = none
  int unix_mode = 0600;
  std::vector<Cidr> service_cidrs{{Ip::v4(0x0a600000), 12}};  // 10.96.0.0/12; IPv4 and/or IPv6
  uint16_t node_port_low = 30000;
  uint16_t node_port_high = 32767;
  std::string admin_kubeconfig;         // written with mode 0600; "" = none
  std::vector<std::string> extra_sans;  // more names or IPs of the server certificate
};

// Thread-safe: start, address and stop may be called from any one thread. It runs three threads of
// its own: API (HTTP, memory), log writer (SQLite) and controllers. `registry` and the log's sink
// must outlive it. Destruction stops it.
class Server {
 public:
  Server(Config config, Log log, Registry& registry);
  ~Server();

  // Opens the store, makes keys and certificates under data_dir/pki, writes the kubeconfig and
  // listens. Errors name the file, the address or the setting at fault; nothing runs then.
  Result<void> start();

  SocketAddress address() const;  // bound. REQUIRES: started
  void stop();                    // idempotent; acknowledged writes are on disk before it returns

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::controlplane
