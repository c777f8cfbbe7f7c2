#include "dns/service_record.h"

#include <numeric>
#include <set>

#include "base/text.h"
#include "dns/name.h"

namespace fairlead::dns {
namespace {

bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= max_label_bytes &&
         text.find('.') == std::string_view::npos;
}

std::string dashed(const Ip& ip) {
  std::string out = ip.to_string();
  for (char& c : out) {
    if (c == '.' || c == ':') c = '-';
  }
  if (out.back() == '-') out += '0';  // "fd00::" must not end with a dash
  return out;
}

// The addresses of the bare name while they are gathered.
struct BareAddresses {
  std::vector<std::array<uint8_t, 4>> v4;
  std::vector<std::array<uint8_t, 16>> v6;
  void add(const Ip& ip) {
    if (ip.is_v4()) {
      auto& bytes = v4.emplace_back();
      std::copy_n(ip.bytes.begin() + 12, 4, bytes.begin());
    } else {
      v6.push_back(ip.bytes);
    }
  }
};

std::vector<RecordPort> slice_ports(const api::EndpointSlice& slice) {
  std::vector<RecordPort> ports;
  for (const auto& port : slice.ports) {
    ports.push_back({to_lower(port.name), port.protocol, port.port ? *port.port : -1});
  }
  if (ports.empty()) ports.emplace_back();
  return ports;
}

uint16_t intern_ports(ServiceRecord& record, std::vector<RecordPort> ports) {
  auto& sets = record.port_sets;
  const auto found = std::find(sets.begin(), sets.end(), ports);
  if (found != sets.end()) return static_cast<uint16_t>(found - sets.begin());
  if (sets.size() == UINT16_MAX) return UINT16_MAX - 1;  // no Service has that many kinds of slice
  sets.push_back(std::move(ports));
  return static_cast<uint16_t>(sets.size() - 1);
}

void add_endpoints(ServiceRecord& record, const api::SliceList& slices, bool endpoint_pod_names,
                   BareAddresses& bare) {
  std::map<std::string, std::vector<RecordAddress>> hosts;
  std::set<Ip> seen;
  for (const auto& slice : slices) {
    const uint16_t ports = intern_ports(record, slice_ports(*slice));
    for (const auto& endpoint : slice->endpoints) {
      if (!endpoint.ready) continue;
      for (const Ip& ip : endpoint.addresses) {
        hosts[endpoint_label(endpoint, ip, endpoint_pod_names)].push_back({ip, ports});
        if (seen.insert(ip).second && record.kind == ServiceRecord::Kind::headless) {
          bare.add(ip);
        }
      }
    }
  }
  for (auto& [name, addresses] : hosts) {
    std::sort(addresses.begin(), addresses.end(), [](const auto& a, const auto& b) {
      return std::tie(a.ip, a.ports) < std::tie(b.ip, b.ports);
    });
    record.hosts.push_back({name, static_cast<uint32_t>(record.addresses.size()),
                            static_cast<uint32_t>(addresses.size())});
    record.addresses.insert(record.addresses.end(), addresses.begin(), addresses.end());
  }
  record.by_ip.resize(record.addresses.size());
  std::iota(record.by_ip.begin(), record.by_ip.end(), 0u);
  std::sort(record.by_ip.begin(), record.by_ip.end(), [&](uint32_t a, uint32_t b) {
    return std::tie(record.addresses[a].ip, a) < std::tie(record.addresses[b].ip, b);
  });
}

void add_external(ServiceRecord& record, const api::Service& service) {
  record.kind = ServiceRecord::Kind::external;
  if (Ip::parse(service.external_name)) return;  // an address cannot be the target of a CNAME
  record.external = name_to_wire(service.external_name).value_or("");
}

void shrink(ServiceRecord& record) {
  record.ports.shrink_to_fit();
  record.port_sets.shrink_to_fit();
  record.hosts.shrink_to_fit();
  record.addresses.shrink_to_fit();
}

}  // namespace

std::string endpoint_label(const api::Endpoint& endpoint, const Ip& ip, bool endpoint_pod_names) {
  if (is_label(endpoint.hostname)) return to_lower(endpoint.hostname);
  if (endpoint_pod_names && is_label(endpoint.target.name)) return to_lower(endpoint.target.name);
  return dashed(ip);
}

std::string service_key(const api::ObjectKey& key) {
  if (!is_label(key.name) || !is_label(key.ns)) return {};
  return cat(static_cast<char>(key.name.size()), to_lower(key.name),
             static_cast<char>(key.ns.size()), to_lower(key.ns));
}

const RecordHost* ServiceRecord::find_host(std::string_view label) const {
  const auto found = std::lower_bound(
      hosts.begin(), hosts.end(), label,
      [](const RecordHost& host, std::string_view wanted) { return host.name < wanted; });
  return found != hosts.end() && found->name == label ? &*found : nullptr;
}

void ServiceRecord::each_host_of(const Ip& ip,
                                 const std::function<void(const RecordHost&)>& visit) const {
  auto at = std::lower_bound(
      by_ip.begin(), by_ip.end(), ip,
      [this](uint32_t index, const Ip& wanted) { return addresses[index].ip < wanted; });
  const RecordHost* last = nullptr;
  for (; at != by_ip.end() && addresses[*at].ip == ip; ++at) {
    // The host whose range holds this index: the last that begins at or before it.
    const auto after =
        std::upper_bound(hosts.begin(), hosts.end(), *at,
                         [](uint32_t index, const RecordHost& host) { return index < host.first; });
    const RecordHost* host = &*(after - 1);
    if (host != last) visit(*host);
    last = host;
  }
}

bool ServiceRecord::is_cluster_ip(const Ip& ip) const {
  if (kind != Kind::cluster_ip) return false;
  if (!ip.is_v4()) return std::find(v6.begin(), v6.end(), ip.bytes) != v6.end();
  return std::any_of(v4.begin(), v4.end(), [&](const auto& bytes) {
    return std::equal(bytes.begin(), bytes.end(), ip.bytes.begin() + 12);
  });
}

std::vector<Ip> ServiceRecord::reverse_addresses() const {
  std::vector<Ip> out;
  if (kind == Kind::external) return out;
  for (const auto& bytes : v4) {
    Ip ip = Ip::v4(0);
    std::copy(bytes.begin(), bytes.end(), ip.bytes.begin() + 12);
    out.push_back(ip);
  }
  for (const auto& bytes : v6) out.push_back(Ip::v6(bytes));
  for (const auto& address : addresses) out.push_back(address.ip);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::shared_ptr<const ServiceRecord> compile_service(const api::Service& service,
                                                     const api::SliceList& slices,
                                                     bool endpoint_pod_names) {
  const std::string key = service_key(service.meta.key);
  if (key.empty()) return nullptr;
  auto record = std::make_shared<ServiceRecord>();
  record->service_label_bytes = static_cast<uint8_t>(1 + service.meta.key.name.size());
  record->key.size = static_cast<uint8_t>(key.size());
  std::copy(key.begin(), key.end(), record->key.bytes.begin());
  if (service.type == api::ServiceType::external_name) {
    add_external(*record, service);
    return record;
  }
  BareAddresses bare;
  if (service.headless) {
    record->kind = ServiceRecord::Kind::headless;
  } else {
    for (const Ip& ip : service.cluster_ips) bare.add(ip);
  }
  for (const auto& port : service.ports) {
    record->ports.push_back({to_lower(port.name), port.protocol, port.port});
  }
  if (record->ports.empty()) record->ports.emplace_back();
  add_endpoints(*record, slices, endpoint_pod_names, bare);
  record->v4.assign(bare.v4);
  record->v6.assign(bare.v6);
  shrink(*record);
  return record;
}

}  // namespace fairlead::dns
