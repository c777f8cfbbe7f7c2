#include "dataplane/ipvs/drifts.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::dataplane::ipvs {
namespace {

Drift by_ipvsadm(std::string what) { return {std::move(what), "another user of ipvsadm"}; }
Drift by_ip(std::string what) { return {std::move(what), "another user of ip"}; }

void add_service_drifts(const ServiceKey& key, const Claim& claim, const VirtualService& held,
                        std::vector<Drift>& out) {
  const std::string name = to_text(key);
  if (held.settings != claim.settings) {
    out.push_back(by_ipvsadm(cat("IPVS service ", name, " has other settings")));
  }
  for (const SocketAddress& address : claim.backends) {
    const auto found = held.destinations.find(address);
    const std::string what = cat("destination ", address.to_string(), " of ", name);
    if (found == held.destinations.end()) {
      out.push_back(by_ipvsadm(cat(what, " is missing")));
    } else if (found->second.weight != 1 || found->second.forwarding != forward_masq) {
      out.push_back(by_ipvsadm(cat(what, " is changed")));
    }
  }
  for (const auto& [address, destination] : held.destinations) {
    const auto& all = claim.backends;
    if (destination.weight == 0 || std::binary_search(all.begin(), all.end(), address)) continue;
    out.push_back(
        by_ipvsadm(cat("destination ", address.to_string(), " of ", name, " is not in the table")));
  }
}

bool is_ending(const VirtualService& service) {
  const Destinations& all = service.destinations;
  return !all.empty() && std::all_of(all.begin(), all.end(),
                                     [](const auto& one) { return one.second.weight == 0; });
}

}  // namespace

std::vector<Drift> service_drifts(const std::map<ServiceKey, Claim>& claims, const Services& held,
                                  const std::set<ServiceKey>& ours) {
  std::vector<Drift> out;
  for (const auto& [key, claim] : claims) {
    const auto found = held.find(key);
    if (found == held.end()) {
      out.push_back(by_ipvsadm(cat("IPVS service ", to_text(key), " is missing")));
    } else {
      add_service_drifts(key, claim, found->second, out);
    }
  }
  for (const ServiceKey& key : ours) {
    if (claims.contains(key) || is_ending(held.at(key))) continue;
    out.push_back(by_ipvsadm(cat("IPVS service ", to_text(key), " is not in the table")));
  }
  return out;
}

std::vector<Drift> address_drifts(const std::string& device, const std::set<Ip>& wanted,
                                  const std::set<Ip>& held) {
  std::vector<Drift> out;
  for (const Ip& ip : wanted) {
    if (held.contains(ip)) continue;
    out.push_back(by_ip(cat("address ", ip.to_string(), " is not on ", device)));
  }
  for (const Ip& ip : held) {
    if (wanted.contains(ip)) continue;
    out.push_back(by_ip(cat("address ", ip.to_string(), " on ", device, " belongs to no service")));
  }
  return out;
}

}  // namespace fairlead::dataplane::ipvs
