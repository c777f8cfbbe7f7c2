// The attributes of the kernel's generic netlink family IPVS (linux/ip_vs.h, IPVS_CMD_ATTR_*).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dataplane/ipvs/virtual_service.h"

namespace fairlead::dataplane::ipvs {

// Requests: a service by its key alone, with its settings, and a destination of it.
std::string encode_key(const ServiceKey& key);
std::string encode_service(const ServiceKey& key, const Settings& settings);
std::string encode_destination(const ServiceKey& key, const SocketAddress& address,
                               const Destination& destination);
// The kernel leaves those that are 0 as they are.
std::string encode_timeouts(const Timeouts& timeouts);

// Answers of one message. Nothing: a service that is none of ours (by firewall mark, or of another
// protocol).
struct ServiceAnswer {
  ServiceKey key;
  Settings settings;
};
Result<std::optional<ServiceAnswer>> parse_service(std::string_view attributes);
struct DestinationAnswer {
  SocketAddress address;
  Destination destination;
};
// `ipv6`: the service's family, which is the destination's where the kernel does not say.
Result<DestinationAnswer> parse_destination(std::string_view attributes, bool ipv6);

}  // namespace fairlead::dataplane::ipvs
