#include "dns/plugins/kubernetes/selection.h"

namespace fairlead::dns {
namespace {

std::optional<Protocol> protocol_of(std::string_view label) {
  if (label == "tcp") return Protocol::tcp;
  if (label == "udp") return Protocol::udp;
  if (label == "sctp") return Protocol::sctp;
  return std::nullopt;
}

std::string_view without_underscore(std::string_view label) {
  if (label.starts_with('_')) label.remove_prefix(1);
  return label;
}

}  // namespace

PortFilter make_port_filter(std::string_view port_label, std::string_view protocol_label) {
  PortFilter filter{.all = false,
                    .name = without_underscore(port_label),
                    .protocol = protocol_of(without_underscore(protocol_label))};
  // An unnamed port has no SRV name (specification, 2.3.2), so "_" selects nothing.
  if (filter.name.empty()) filter.protocol = std::nullopt;
  return filter;
}

bool has_protocol(const ServiceRecord& record, std::string_view protocol_label) {
  if (!protocol_label.starts_with('_')) return false;
  const auto protocol = protocol_of(protocol_label.substr(1));
  const auto matches = [&](const RecordPort& port) {
    return protocol && port.protocol == *protocol && !port.name.empty() && port.port >= 0;
  };
  if (record.kind == ServiceRecord::Kind::cluster_ip) {
    return std::any_of(record.ports.begin(), record.ports.end(), matches);
  }
  return std::any_of(record.port_sets.begin(), record.port_sets.end(),
                     [&](const auto& set) { return std::any_of(set.begin(), set.end(), matches); });
}

size_t EndpointSelection::matching_ports(const RecordAddress& address) const {
  const auto& set = record.port_sets[address.ports];
  if (ports.all) return set.size();
  return static_cast<size_t>(
      std::count_if(set.begin(), set.end(), [&](const auto& port) { return ports.matches(port); }));
}

bool EndpointSelection::any() const {
  if (ports.all) return host != nullptr || !record.hosts.empty();
  const uint32_t first = host == nullptr ? 0 : host->first;
  const size_t end = host == nullptr ? record.addresses.size() : host->first + host->count;
  for (size_t i = first; i < end; ++i) {
    if (matching_ports(record.addresses[i]) > 0) return true;
  }
  return false;
}

size_t EndpointSelection::entries() const {
  size_t total = 0;
  each_host([&](const RecordHost& one) {
    for (uint32_t i = one.first; i < one.first + one.count; ++i) {
      total += matching_ports(record.addresses[i]);
    }
  });
  return total;
}

}  // namespace fairlead::dns
