// A Service port to the addresses to dial. Pure.
#pragma once

#include "api/snapshot.h"
#include "ingress/ingress_claims.h"
#include "ingress/route_table.h"

namespace fairlead::ingress {

// Endpoints of both families by api::usable_endpoints(). ExternalName is refused: its target is
// chosen by whoever may write Services, not by the cluster (server-side request forgery).
Backend resolve_backend(const api::Snapshot& snapshot, const BackendKey& key);

}  // namespace fairlead::ingress
