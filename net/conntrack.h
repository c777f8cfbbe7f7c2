// The kernel's connection tracker (nf_conntrack) of one network namespace: which flows it knows,
// forgetting one and taking one up. For datagram flows that would go to a dead backend for ever,
// and for connections that somebody else has carried until now.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/tracked_flow.h"

namespace fairlead::net {

// Synchronous; used by one thread at a time.
class Conntrack {
 public:
  virtual ~Conntrack() = default;

  // Every flow of one protocol, both families, by one pass over the kernel's whole table.
  virtual Result<std::vector<TrackedFlow>> flows(Protocol protocol) = 0;

  // What it knows now of the flow that has packets with this protocol, source, destination and
  // zone, whichever way: from who began it, or from who answers.
  virtual Result<std::optional<TrackedFlow>> find(const TrackedFlow& flow) = 0;

  // Forgets it: the next packet of the flow is a new one. False when it was gone already.
  virtual Result<bool> remove(const TrackedFlow& flow) = 0;

  // The same, unless it has become another since it was read: a client may have begun a new one on
  // its ports, which then stays (but for one that begins between the two requests of this).
  Result<bool> remove_unchanged(const TrackedFlow& flow);

  // Takes up a TCP connection that is open and that nobody translates: its packets belong to it
  // from now on and meet no rule of NAT. Without one it is forgotten after a day. False when
  // the tracker knows it already.
  virtual Result<bool> adopt(const SocketAddress& client, const SocketAddress& server) = 0;

  // The same for one that is known to be open. Whatever else the tracker takes its ports for has
  // ended, perhaps unseen, and gives way: in its place segments would be translated, or be out of
  // its windows. False when it is known as open and untranslated, whoever is taken for its client.
  Result<bool> adopt_open(const SocketAddress& client, const SocketAddress& server);
};

// Over ctnetlink (linux/netfilter/nfnetlink_conntrack.h). Opens its socket at the first call, in
// the namespace of that moment, and stays there. Needs CAP_NET_ADMIN.
std::unique_ptr<Conntrack> make_conntrack();

// A table that a test fills.
class FakeConntrack final : public Conntrack {
 public:
  Result<std::vector<TrackedFlow>> flows(Protocol protocol) override;
  Result<std::optional<TrackedFlow>> find(const TrackedFlow& flow) override;
  Result<bool> remove(const TrackedFlow& flow) override;
  Result<bool> adopt(const SocketAddress& client, const SocketAddress& server) override;

  void add(const TrackedFlow& flow) { flows_.insert(flow); }
  void fail_with(std::string message) { error_ = std::move(message); }  // "": works again
  const std::set<TrackedFlow>& all() const { return flows_; }
  size_t reads() const { return reads_; }

 private:
  std::set<TrackedFlow> flows_;
  std::string error_;
  size_t reads_ = 0;
};

// One ctnetlink message without its headers, as flows() reads it; nothing for protocols without
// ports and for what is cut off. `ipv6` is the family that the message's header names.
std::optional<TrackedFlow> parse_conntrack_message(std::string_view attributes, bool ipv6);

}  // namespace fairlead::net
