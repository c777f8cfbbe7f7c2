// Service tables in a few words.
#pragma once

#include <string>

#include "dataplane/service_table.h"

namespace fairlead::dataplane::test {

// A table of one line a service: "default/web TCP 10.96.0.10:80,node:30080 -> 10.1.0.2:8080,...".
// Frontends: addresses are ClusterIPs; ext:ADDRESS, lb:ADDRESS, node:PORT, node6:PORT; '!' at the
// end is policy Local. Backends: `->` with nothing, or "-> drop", for none; '*' at the end is
// local, '^' local for policy Local only (these come first). Then any of affinity=SECONDS,
// from=CIDR,CIDR, if-empty=drop, maglev and dsr. Other lines are the node's: "node IP", "pods
// CIDR", "services CIDR", "nodes CIDR", "ports-on IP", "masquerade-all", "no-localhost".
ServiceTable table_of(const std::string& text);

}  // namespace fairlead::dataplane::test
