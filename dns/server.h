// The cluster's DNS server: UDP and TCP listeners, one worker thread per core, answers from the
// newest Snapshot and from upstreams. Configured by a Corefile.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "api/snapshot.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "dns/corefile.h"

namespace fairlead::dns {

struct ServerOptions {
  unsigned workers = 0;       // 0: one per core
  std::vector<Ip> bind;       // empty: all addresses
  std::vector<Ip> local_ips;  // own addresses, the glue of the zone's NS record
};

struct Status {
  bool ready = false;                  // every kubernetes plugin has a snapshot
  std::vector<std::string> listening;  // "udp 10.0.0.1:53", "tcp 10.0.0.1:53", "http [::]:8080"
  std::vector<std::string> errors;     // the newest ones, at most 16
  uint64_t queries = 0;                // answered since start
  size_t zones = 0;                    // of all server blocks
};

class Server {
 public:
  // `registry` must outlive the server.
  static Result<std::unique_ptr<Server>> create(Corefile corefile, ServerOptions options,
                                                const Log& log, Registry& registry);
  ~Server();  // stops listening, waits for `health { lameduck }`, joins the threads
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds the sockets and starts the workers. Call once. The error names the address and the
  // Corefile line that asked for it.
  Result<void> start();

  // From the feed thread only, in order. Before the first call with changes.everything, names of
  // the cluster answer SERVFAIL.
  void publish(std::shared_ptr<const api::Snapshot> snapshot, const api::Changes& changes);

  Status status() const;  // any thread

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::dns
