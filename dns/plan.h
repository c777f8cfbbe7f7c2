// A Corefile made ready for answering: zones by port, steps by server block. Immutable.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dns/corefile.h"
#include "dns/plugins/kubernetes/kubernetes.h"

namespace fairlead::dns {

struct Zone {
  std::string wire;  // lower case
  size_t labels = 0;
  bool holds(const FoldedName& name) const { return name.is_within(wire, labels); }
};

struct ForwardStep {
  Zone from;
  std::vector<Zone> except;
  const ForwardConfig* config = nullptr;  // of the plan's Corefile
  size_t number = 0;                      // among all forward steps of the plan

  bool takes(const FoldedName& name) const;
};

struct LogStep {
  Zone zone;
  const LogConfig* config = nullptr;
};

struct Block {
  std::optional<Kubernetes> kubernetes;
  size_t index = 0;  // of the ZoneIndex among Plan::indexes
  std::vector<ForwardStep> forwards;
  std::vector<LogStep> logs;
  bool errors = false;
};

struct ServedZone {
  Zone zone;
  size_t block = 0;
  size_t slot = 0;  // of the metrics
};

// What is served at one port.
struct Site {
  uint16_t port = 53;
  std::vector<ServedZone> zones;  // most labels first
  bool recursion = false;         // some block forwards: the RA flag
  size_t slot = 0;                // of the metrics, for queries outside of every zone

  // The longest zone that holds the name; the parent's for DS (RFC 4035 section 3.1.4.1).
  const ServedZone* route(const FoldedName& name, uint16_t type) const;
};

struct SlotLabels {
  std::string server;  // "dns://:53"
  std::string zone;    // "cluster.local.", or "dropped"
};

struct Plan {
  Plan(Corefile corefile, const std::vector<Ip>& local_ips);
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  const Corefile corefile;
  std::vector<Block> blocks;
  std::vector<Site> sites;
  std::vector<IndexOptions> indexes;  // each kind of index that some block needs
  std::vector<SlotLabels> slots;
  size_t forward_steps = 0;
};

}  // namespace fairlead::dns
