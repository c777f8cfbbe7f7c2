// The rules of a Service's addresses and their families (KEP-563).
#pragma once

#include "controlplane/objects/problems.h"

namespace fairlead::controlplane {

// What a Service says about clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy must agree;
// absent ones are filled in later, by the allocator.
void validate_cluster_ips(const json::object& spec, Problems& problems);

}  // namespace fairlead::controlplane
