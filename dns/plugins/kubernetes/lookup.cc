#include "dns/plugins/kubernetes/lookup.h"

#include <cstring>
#include <set>

#include "base/text.h"

namespace fairlead::dns {

using namespace std::string_view_literals;

namespace {

constexpr std::string_view schema_version = "1.1.0";
constexpr uint32_t schema_version_ttl_s = 28'800;  // the specification's example
constexpr uint16_t dns_port = 53;

// "10-0-0-1" or "fd00--1" (CoreDNS plugin/kubernetes/kubernetes.go findPods).
std::optional<Ip> undash(std::string_view label) {
  std::string text(label);
  const bool v4 =
      std::count(text.begin(), text.end(), '-') == 3 && text.find("--") == std::string::npos;
  std::replace(text.begin(), text.end(), '-', v4 ? '.' : ':');
  return Ip::parse(text);
}

}  // namespace

Found Kubernetes::Lookup::run() {
  if (zone_ == 0) return apex();
  const std::string_view last = name_.label(zone_ - 1);
  if (last == "svc") {
    if (zone_ == 1) return exists();
    if (zone_ > 2) return below_service();
    const std::string_view space = name_.between(0, 1);
    const bool there = index_ != nullptr && step_.exposes(space) && index_->has_namespace(space);
    return there ? exists() : missing();
  }
  if (last == "pod") return zone_ == 1 ? exists() : pod();
  if (last == "dns") {  // ns.dns is the name of this server, dns the name above it
    if (zone_ == 1) return exists();
    if (zone_ == 2 && name_.label(0) == "ns") return default_name_server();
  }
  if (zone_ == 1 && last == "dns-version") return version();
  if (const auto ip = reverse_to_address(name_)) return reverse(*ip);
  return missing();
}

Found Kubernetes::Lookup::exists() {
  if (type_ != type::any) return Found::no_data;
  // RFC 8482 section 4.2: a synthesised HINFO stands for "all there is".
  constexpr std::string_view empty;
  writer_.text(question_.owner, type::hinfo, ttl_, "RFC8482", &empty);
  return Found::records;
}

Found Kubernetes::Lookup::apex() {
  if (type_ == type::ns) return name_servers();
  if (type_ != type::soa) return exists();
  writer_.soa(Section::answer, zone_ref(), std::min(ttl_, 300u),
              index_ == nullptr ? 0 : index_->serial(), ttl_);
  return Found::records;
}

// The Services that stand for this server, with their addresses as glue; else ns.dns.ZONE.
Found Kubernetes::Lookup::name_servers() {
  std::set<const ServiceRecord*> own;
  for (const Ip& ip : step_.local_ips_) {
    if (index_ == nullptr) break;
    index_->each_service_of(ip, [&](const ServiceRecord& record) {
      const bool serves = std::any_of(record.ports.begin(), record.ports.end(),
                                      [](const RecordPort& port) { return port.port == dns_port; });
      if (record.kind == ServiceRecord::Kind::cluster_ip && serves) own.insert(&record);
    });
  }
  if (own.empty()) {
    NameRef target = 0;
    const NameParts name{.labels = "\2ns\3dns"sv, .suffix = zone_ref()};
    writer_.target(Section::answer, zone_ref(), type::ns, ttl_, name, &target);
    for (const Ip& ip : step_.local_ips_) writer_.address(Section::additional, target, ttl_, ip);
    return Found::records;
  }
  std::vector<std::pair<NameRef, const ServiceRecord*>> glue;
  for (const ServiceRecord* record : own) {
    NameRef target = 0;
    const NameParts name{.labels = service_labels(*record, {}), .suffix = zone_ref()};
    if (writer_.target(Section::answer, zone_ref(), type::ns, ttl_, name, &target)) {
      glue.emplace_back(target, record);
    }
  }
  for (const auto& [target, record] : glue) {
    for (const Ip& ip : record->reverse_addresses()) {
      if (record->is_cluster_ip(ip)) writer_.address(Section::additional, target, ttl_, ip);
    }
  }
  return Found::records;
}

Found Kubernetes::Lookup::default_name_server() {
  bool found = false;
  for (const Ip& ip : step_.local_ips_) {
    if (type_ != (ip.is_v4() ? type::a : type::aaaa)) continue;
    writer_.address(Section::answer, question_.owner, ttl_, ip);
    found = true;
  }
  return found ? Found::records : exists();
}

Found Kubernetes::Lookup::version() {
  if (type_ != type::txt) return exists();
  writer_.text(question_.owner, type::txt, schema_version_ttl_s, schema_version);
  return Found::records;
}

// A cluster IP has one name; an endpoint has one for each Service and host that holds it.
Found Kubernetes::Lookup::reverse(const Ip& ip) {
  if (index_ == nullptr) return missing();
  std::vector<const ServiceRecord*> holders;
  const ServiceRecord* owner = nullptr;
  index_->each_service_of(ip, [&](const ServiceRecord& record) {
    if (!step_.exposes(record.namespace_label())) return;
    if (record.is_cluster_ip(ip)) owner = &record;
    holders.push_back(&record);
  });
  if (owner == nullptr && (holders.empty() || !step_.config_.endpoints)) return missing();
  if (type_ != type::ptr) return exists();
  const auto write = [&](const ServiceRecord& record, std::string_view host) {
    const std::string target = cat(service_labels(record, host), step_.primary_zone_);
    if (target.size() >= max_name_bytes) return;
    writer_.target(Section::answer, question_.owner, type::ptr, ttl_, {.labels = target});
  };
  if (owner != nullptr) {
    write(*owner, {});
    return Found::records;
  }
  std::sort(holders.begin(), holders.end(), [](const ServiceRecord* a, const ServiceRecord* b) {
    return a->key.view() < b->key.view();
  });
  for (const ServiceRecord* record : holders) {
    record->each_host_of(ip, [&](const RecordHost& host) { write(*record, host.name); });
  }
  return Found::records;
}

Found Kubernetes::Lookup::below_service() {
  const size_t service = zone_ - 3;  // labels left of SERVICE
  if (service > 2 || index_ == nullptr || !step_.exposes(name_.between(zone_ - 2, zone_ - 1))) {
    return missing();
  }
  const ServiceRecord* record = index_->service(name_.between(service, service + 2));
  if (record == nullptr) return missing();
  if (record->kind == ServiceRecord::Kind::external) {
    return service == 0 ? external(*record) : missing();
  }
  const bool cluster_ip_kind = record->kind == ServiceRecord::Kind::cluster_ip;
  if (cluster_ip_kind && step_.config_.ignore_empty_service && record->hosts.empty()) {
    return missing();
  }
  PortFilter filter;
  if (service == 2) filter = make_port_filter(name_.label(0), name_.label(1));
  if (cluster_ip_kind && service != 1) return cluster_ip(*record, filter);
  if (!step_.config_.endpoints) return missing();
  if (service == 1) {
    const RecordHost* host = record->find_host(name_.label(0));
    if (host != nullptr) return endpoints({*record, host, filter});
    return has_protocol(*record, name_.label(0)) ? exists() : missing();
  }
  return endpoints({*record, nullptr, filter});
}

Found Kubernetes::Lookup::external(const ServiceRecord& record) {
  if (record.external.empty()) return missing();
  const bool wants_address = type_ == type::a || type_ == type::aaaa;
  if (!wants_address && type_ != type::cname && type_ != type::any) return Found::no_data;
  if (!follow_.name.assign(record.external)) return missing();
  if (follow_.name.from(0) == name_.from(0)) return Found::no_data;  // names itself
  const std::string_view labels(record.external.data(), record.external.size() - 1);
  if (!writer_.target(Section::answer, question_.owner, type::cname, ttl_, {.labels = labels},
                      &follow_.ref)) {
    return Found::records;
  }
  return wants_address ? Found::follow : Found::records;
}

Found Kubernetes::Lookup::cluster_ip(const ServiceRecord& record, const PortFilter& filter) {
  if (!filter.all && std::none_of(record.ports.begin(), record.ports.end(),
                                  [&](const RecordPort& port) { return filter.matches(port); })) {
    return missing();
  }
  if (type_ == type::a || type_ == type::aaaa) return bare_addresses(record);
  if (type_ == type::srv) return cluster_ip_srv(record, filter);
  return exists();
}

Found Kubernetes::Lookup::endpoints(const EndpointSelection& selection) {
  if (!selection.any()) return missing();
  if (type_ == type::a || type_ == type::aaaa) {
    const bool bare = selection.host == nullptr && selection.ports.all;
    return bare ? bare_addresses(selection.record) : selected_addresses(selection);
  }
  if (type_ == type::srv) return endpoint_srv(selection);
  return exists();
}

Found Kubernetes::Lookup::pod() {
  const KubernetesConfig& config = step_.config_;
  const std::string_view space = name_.between(zone_ - 2, zone_ - 1);
  if (config.pods == PodMode::disabled || index_ == nullptr || zone_ > 3 || !step_.exposes(space) ||
      !index_->has_namespace(space)) {
    return missing();
  }
  if (zone_ == 2) return exists();
  const auto ip = undash(name_.label(0));
  if (!ip || (config.pods == PodMode::verified && !index_->has_pod(*ip, space))) return missing();
  if (type_ != (ip->is_v4() ? type::a : type::aaaa)) return exists();
  writer_.address(Section::answer, question_.owner, ttl_, *ip);
  return Found::records;
}

std::string_view Kubernetes::Lookup::service_labels(const ServiceRecord& record,
                                                    std::string_view host) {
  size_t at = 0;
  if (!host.empty()) {
    labels_[at++] = static_cast<char>(host.size());
    std::memcpy(labels_.data() + at, host.data(), host.size());
    at += host.size();
  }
  std::memcpy(labels_.data() + at, record.key.bytes.data(), record.key.size);
  at += record.key.size;
  std::memcpy(labels_.data() + at, "\3svc", 4);
  return {labels_.data(), at + 4};
}

}  // namespace fairlead::dns
