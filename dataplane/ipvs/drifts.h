// What verify() says about IPVS itself and the dummy interface.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "dataplane/driver.h"
#include "dataplane/ipvs/host.h"
#include "dataplane/ipvs/virtual_service.h"
#include "dataplane/ipvs/wanted.h"

namespace fairlead::dataplane::ipvs {

// Destinations of weight 0 are leaving: never a drift. `ours`: which of the held ones are.
std::vector<Drift> service_drifts(const std::map<ServiceKey, Claim>& claims, const Services& held,
                                  const std::set<ServiceKey>& ours);

std::vector<Drift> address_drifts(const std::string& device, const std::set<Ip>& wanted,
                                  const std::set<Ip>& held);

}  // namespace fairlead::dataplane::ipvs
