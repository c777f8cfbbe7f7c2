// Which ports and endpoints of a Service a name selects.
#pragma once

#include <optional>
#include <string_view>

#include "base/ip.h"
#include "dns/service_record.h"

namespace fairlead::dns {

// The labels _PORT._PROTOCOL. Without them every port matches, unnamed ones too.
struct PortFilter {
  bool all = true;
  std::string_view name;  // without underscore
  std::optional<Protocol> protocol;

  bool matches(const RecordPort& port) const {
    return all || (protocol && port.protocol == *protocol && port.name == name);
  }
};

// REQUIRES: lower-case labels. The underscores may be missing, as in CoreDNS.
PortFilter make_port_filter(std::string_view port_label, std::string_view protocol_label);

// Whether _PROTOCOL in front of the Service is a name with names below it (RFC 8020).
bool has_protocol(const ServiceRecord& record, std::string_view protocol_label);

// The endpoints that a name selects: all of them, or those of one host.
struct EndpointSelection {
  const ServiceRecord& record;
  const RecordHost* host = nullptr;
  PortFilter ports;

  // visit(host) for each host.
  template <class Visit>
  void each_host(Visit visit) const {
    if (host != nullptr) return visit(*host);
    for (const auto& one : record.hosts) visit(one);
  }
  size_t matching_ports(const RecordAddress& address) const;
  bool any() const;
  // The number of (address, port) pairs: what SRV weights are shares of.
  size_t entries() const;
};

}  // namespace fairlead::dns
