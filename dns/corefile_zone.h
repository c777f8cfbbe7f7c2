// Zones as a Corefile writes them: names, CIDR blocks for reverse zones, transports and ports
// (coredns core/dnsserver/address.go, plugin/normalize.go).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dns/corefile.h"

namespace fairlead::dns {

// "Example.org" -> {"example.org."}; "10.0.0.0/15" -> {"0.10.in-addr.arpa.", "1.10.in-addr.arpa."}.
// The error has no position.
Result<std::vector<std::string>> parse_zone(std::string_view text);

// "[dns://]zone[:port]", port 53 when absent.
Result<std::vector<ZoneKey>> parse_zone_key(std::string_view text);

// The nameservers of a resolv.conf file, at port 53.
Result<std::vector<SocketAddress>> read_resolv_conf(const std::string& path);

}  // namespace fairlead::dns
