// Snapshot -> ServiceTable. Pure. Every rule of Service semantics is decided here.
#pragma once

#include <set>

#include "api/snapshot.h"
#include "dataplane/service_table.h"

namespace fairlead::dataplane {

// Why this node's proxy leaves the Service alone (KEP-2447 for the labels); "": it serves it.
std::string why_not_proxied(const api::Service& service, const NodeConfig& node);

// The whole table.
ServiceTable compile(const api::Snapshot& snapshot, const NodeConfig& node);

// One Service; an entry without ports when there is nothing to program (headless, ExternalName,
// other proxy's, deleted).
ServiceEntry compile_service(const api::Snapshot& snapshot, const NodeConfig& node,
                             const api::ObjectKey& key);

// Brings `table` from the previous snapshot to this one and returns the keys whose entry changed.
// REQUIRES: table == compile(previous, node). Ends with table == compile(snapshot, node).
std::set<api::ObjectKey> update(ServiceTable& table, const api::Snapshot& snapshot,
                                const api::Changes& changes);

}  // namespace fairlead::dataplane
