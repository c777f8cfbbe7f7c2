#include "dns/plugins/kubernetes/kubernetes.h"

#include "dns/plugins/kubernetes/lookup.h"

namespace fairlead::dns {
namespace {

constexpr uint32_t max_soa_ttl_s = 300;  // CoreDNS plugin/backend_lookup.go SOA()

std::string lower_wire(std::string_view text) {
  std::string wire = *name_to_wire(text);  // checked when the Corefile was read
  fold_case(reinterpret_cast<uint8_t*>(wire.data()), wire.size());
  return wire;
}

}  // namespace

Kubernetes::Kubernetes(const KubernetesConfig& config, std::vector<Ip> local_ips)
    : config_(config), local_ips_(std::move(local_ips)) {
  for (const auto& zone : config.zones) {
    const std::string wire = lower_wire(zone);
    zones_.push_back({wire, count_labels(wire)});
    const bool reverse = zone.ends_with(".in-addr.arpa.") || zone.ends_with(".ip6.arpa.") ||
                         zone == "in-addr.arpa." || zone == "ip6.arpa.";
    if (!reverse && primary_zone_.empty()) primary_zone_ = wire.substr(0, wire.size() - 1);
  }
  std::sort(zones_.begin(), zones_.end(),
            [](const Zone& a, const Zone& b) { return a.labels > b.labels; });
  for (const auto& zone : config.fallthrough_zones) {
    const std::string wire = lower_wire(zone);
    fallthrough_zones_.push_back({wire, count_labels(wire)});
  }
  for (const auto& name : config.namespaces) {
    namespaces_.push_back(std::string(1, static_cast<char>(name.size())) + name);
  }
}

std::optional<size_t> Kubernetes::match_zone(const FoldedName& name) const {
  for (const auto& zone : zones_) {
    if (name.is_within(zone.wire, zone.labels)) return name.labels - zone.labels;
  }
  return std::nullopt;
}

bool Kubernetes::falls_through(const FoldedName& name) const {
  if (!config_.fallthrough || fallthrough_zones_.empty()) return config_.fallthrough;
  return std::any_of(fallthrough_zones_.begin(), fallthrough_zones_.end(),
                     [&](const Zone& zone) { return name.is_within(zone.wire, zone.labels); });
}

bool Kubernetes::exposes(std::string_view namespace_label) const {
  return namespaces_.empty() ||
         std::find(namespaces_.begin(), namespaces_.end(), namespace_label) != namespaces_.end();
}

Found Kubernetes::answer(const Question& question, size_t zone, const ZoneIndex* index,
                         uint32_t turn, MessageWriter& writer, FollowTarget& follow) const {
  return Lookup(*this, question, zone, index, turn, writer, follow).run();
}

void Kubernetes::write_authority(const Question& question, size_t zone, const ZoneIndex* index,
                                 MessageWriter& writer) const {
  const auto ref = static_cast<NameRef>(question.owner + question.name.offsets[zone]);
  writer.soa(Section::authority, ref, std::min(config_.ttl_s, max_soa_ttl_s),
             index == nullptr ? 0 : index->serial(), config_.ttl_s);
}

}  // namespace fairlead::dns
