// The A, AAAA and SRV records of a Service.
#include "dns/plugins/kubernetes/lookup.h"

namespace fairlead::dns {
namespace {

constexpr size_t total_weight = 100;  // CoreDNS plugin/backend_lookup.go SRV()

uint16_t weight_of(size_t entries) {
  return static_cast<uint16_t>(std::max<size_t>(1, total_weight / std::max<size_t>(1, entries)));
}

}  // namespace

Found Kubernetes::Lookup::bare_addresses(const ServiceRecord& record) {
  const bool v6 = type_ == type::aaaa;
  const size_t count = v6 ? record.v6.size() : record.v4.size();
  if (count == 0) return exists();
  // A client that takes the first address must not always take the same endpoint.
  size_t i = record.kind == ServiceRecord::Kind::headless ? turn_ % count : 0;
  for (size_t left = count; left > 0; --left) {
    const bool fits = v6 ? writer_.aaaa(question_.owner, ttl_, record.v6[i].data())
                         : writer_.a(question_.owner, ttl_, record.v4[i].data());
    if (!fits) break;
    if (++i == count) i = 0;
  }
  return Found::records;
}

Found Kubernetes::Lookup::selected_addresses(const EndpointSelection& selection) {
  const ServiceRecord& record = selection.record;
  const bool v4 = type_ == type::a;
  bool found = false;
  const Ip* last = nullptr;  // both orders below put equal addresses side by side
  const auto visit = [&](const RecordAddress& address) {
    if (address.ip.is_v4() != v4 || selection.matching_ports(address) == 0) return;
    if (last != nullptr && *last == address.ip) return;
    last = &address.ip;
    found = true;
    writer_.address(Section::answer, question_.owner, ttl_, address.ip);
  };
  if (const RecordHost* host = selection.host) {
    for (uint32_t i = host->first; i < host->first + host->count; ++i) visit(record.addresses[i]);
  } else {
    for (const uint32_t i : record.by_ip) visit(record.addresses[i]);
  }
  return found ? Found::records : exists();
}

Found Kubernetes::Lookup::cluster_ip_srv(const ServiceRecord& record, const PortFilter& filter) {
  const size_t ips = record.v4.size() + record.v6.size();
  const auto matching = static_cast<size_t>(
      std::count_if(record.ports.begin(), record.ports.end(),
                    [&](const RecordPort& port) { return filter.matches(port); }));
  if (ips == 0) return exists();
  const NameParts name{.labels = service_labels(record, {}), .suffix = zone_ref()};
  NameRef target = 0;
  for (auto port = record.ports.begin(); port != record.ports.end(); ++port) {
    if (!filter.matches(*port) || port->port < 0) continue;
    // The same number over another protocol is the same record.
    const bool again = std::any_of(record.ports.begin(), port, [&](const RecordPort& before) {
      return filter.matches(before) && before.port == port->port;
    });
    if (again) continue;
    writer_.srv(question_.owner, ttl_, weight_of(matching * ips), static_cast<uint16_t>(port->port),
                name, &target);
  }
  if (target == 0) return writer_.truncated() ? Found::records : exists();
  for (const auto& ip : record.v4) {
    Ip address = Ip::v4(0);
    std::copy(ip.begin(), ip.end(), address.bytes.begin() + 12);
    writer_.address(Section::additional, target, ttl_, address);
  }
  for (const auto& ip : record.v6) {
    writer_.address(Section::additional, target, ttl_, Ip::v6(ip));
  }
  return Found::records;
}

// One record per host and port number, then every address of those hosts.
Found Kubernetes::Lookup::endpoint_srv(const EndpointSelection& selection) {
  const ServiceRecord& record = selection.record;
  const uint16_t weight = weight_of(selection.entries());
  std::vector<std::pair<NameRef, const RecordHost*>> targets;
  std::vector<int32_t> numbers;
  selection.each_host([&](const RecordHost& host) {
    numbers.clear();
    for (uint32_t i = host.first; i < host.first + host.count; ++i) {
      for (const auto& port : record.port_sets[record.addresses[i].ports]) {
        if (!selection.ports.matches(port) || port.port < 0) continue;
        if (std::find(numbers.begin(), numbers.end(), port.port) == numbers.end()) {
          numbers.push_back(port.port);
        }
      }
    }
    if (numbers.empty()) return;
    const NameParts name{.labels = service_labels(record, host.name), .suffix = zone_ref()};
    NameRef target = 0;
    for (const int32_t number : numbers) {
      writer_.srv(question_.owner, ttl_, weight, static_cast<uint16_t>(number), name, &target);
    }
    if (target != 0) targets.emplace_back(target, &host);
  });
  for (const auto& [target, host] : targets) {
    const Ip* last = nullptr;
    for (uint32_t i = host->first; i < host->first + host->count; ++i) {
      const RecordAddress& address = record.addresses[i];
      if ((last != nullptr && *last == address.ip) || selection.matching_ports(address) == 0) {
        continue;
      }
      last = &address.ip;
      writer_.address(Section::additional, target, ttl_, address.ip);
    }
  }
  return targets.empty() && !writer_.truncated() ? exists() : Found::records;
}

}  // namespace fairlead::dns
