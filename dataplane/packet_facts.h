// What modes that put rules on packets ask of the table, beside dataplane/flow.h: the same answers
// in the form of sets.
#pragma once

#include <vector>

#include "dataplane/service_table.h"

namespace fairlead::dataplane {

// The sources that may_dial() lets in: sorted, none inside another. Empty: everybody.
std::vector<Cidr> dial_ranges(const NodeConfig& node, const PortRule& rule,
                              const Frontend& frontend);

// Backends that may dial themselves through this Service and would keep their address: those that
// nothing else masquerades (local pods, or anybody where pods cannot be told), and those that are
// here by their slice. Sorted, each once.
std::vector<Ip> hairpin_ips(const NodeConfig& node, const ServiceEntry& entry);

}  // namespace fairlead::dataplane
