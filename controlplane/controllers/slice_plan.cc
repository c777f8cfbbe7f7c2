#include "controlplane/controllers/slice_plan.h"

#include <algorithm>
#include <map>

namespace fairlead::controlplane {
namespace {

// An endpoint with what its document says beyond the fields that the data plane reads.
struct Wanted {
  api::Endpoint endpoint;
  std::string pod_uid;
};

// Pods of one node may share its address: only together with the pod is an endpoint itself.
using EndpointKey = std::pair<Ip, api::ObjectKey>;

// Endpoints of one family with the same resolved ports share slices: named target ports may differ
// from pod to pod.
struct Group {
  std::string address_type;
  std::vector<api::EndpointPort> ports;
  std::map<EndpointKey, Wanted> endpoints;
};

std::optional<uint16_t> resolve(const api::ServicePort& port, const api::Pod& pod) {
  if (const auto* name = std::get_if<std::string>(&port.target_port)) {
    for (const auto& container : pod.ports) {
      if (container.name == *name && container.protocol == port.protocol) {
        return static_cast<uint16_t>(container.port);
      }
    }
    return std::nullopt;
  }
  const int32_t number = std::get<int32_t>(port.target_port);
  return number == 0 ? port.port : static_cast<uint16_t>(number);
}

std::vector<api::EndpointPort> resolve_ports(const api::Service& service, const api::Pod& pod) {
  std::vector<api::EndpointPort> ports;
  for (const auto& port : service.ports) {
    if (const auto number = resolve(port, pod)) {
      ports.push_back({port.name, port.protocol, number, port.app_protocol});
    }
  }
  return ports;
}

std::vector<std::string> families_of(const api::Service& service) {
  if (!service.ip_families.empty()) return service.ip_families;
  std::vector<std::string> families;
  for (const Ip& ip : service.cluster_ips) families.push_back(ip.is_v4() ? "IPv4" : "IPv6");
  if (families.empty()) families.push_back("IPv4");
  return families;
}

// KEP-4444, KEP-3015: which node's and which zone's traffic the endpoint is for. PreferSameNode has
// its zone as well, for nodes without an endpoint of their own.
void add_hints(const api::Service& service, api::Endpoint& endpoint) {
  const std::string& wish = service.traffic_distribution;
  const bool same_node = wish == "PreferSameNode";
  if (same_node && !endpoint.node_name.empty()) endpoint.hint_nodes = {endpoint.node_name};
  if ((same_node || wish == "PreferSameZone" || wish == "PreferClose") && !endpoint.zone.empty()) {
    endpoint.hint_zones = {endpoint.zone};
  }
}

api::Endpoint make_endpoint(const api::Service& service, const api::Pod& pod, const Ip& ip,
                            const ClusterZones& zones) {
  api::Endpoint endpoint;
  endpoint.addresses = {ip};
  endpoint.serving = pod.ready;
  endpoint.terminating = pod.meta.deleting;
  endpoint.ready = service.publish_not_ready || (endpoint.serving && !endpoint.terminating);
  // A pod has a name of its own only below the Service that it names.
  if (!pod.hostname.empty() && pod.subdomain == service.meta.key.name) {
    endpoint.hostname = pod.hostname;
  }
  endpoint.node_name = pod.node_name;
  endpoint.target = {pod.meta.key.ns, pod.meta.key.name};
  if (const auto zone = zones.zone_of.find(pod.node_name); zone != zones.zone_of.end()) {
    endpoint.zone = zone->second;
  }
  if (!wants_zone_hints(service)) add_hints(service, endpoint);
  return endpoint;
}

std::vector<Group> make_groups(const api::Service& service, const PodList& pods,
                               const ClusterZones& zones) {
  std::vector<Group> groups;
  for (const std::string& family : families_of(service)) {
    for (const auto& pod : pods) {
      if (pod->phase == "Succeeded" || pod->phase == "Failed") continue;
      const auto ip = std::ranges::find_if(
          pod->ips, [&](const Ip& candidate) { return candidate.is_v4() == (family == "IPv4"); });
      if (ip == pod->ips.end()) continue;
      auto ports = resolve_ports(service, *pod);
      auto group = std::ranges::find_if(
          groups, [&](const Group& g) { return g.address_type == family && g.ports == ports; });
      if (group == groups.end()) {
        group = groups.insert(groups.end(), Group{family, std::move(ports), {}});
      }
      group->endpoints[{*ip, pod->meta.key}] = {make_endpoint(service, *pod, *ip, zones),
                                                pod->meta.uid};
    }
    // Watchers should see that the Service is known, even when nothing is behind it.
    const auto any = std::ranges::find(groups, family, &Group::address_type);
    if (any == groups.end()) groups.push_back({family, {}, {}});
  }
  return groups;
}

// The zone hints that are there.
std::map<EndpointKey, std::string_view> present_hints(const SliceList& slices) {
  std::map<EndpointKey, std::string_view> out;
  for (const auto& slice : slices) {
    for (const api::Endpoint& one : slice->endpoints) {
      if (one.addresses.empty() || one.hint_zones.size() != 1) continue;
      out[{one.addresses[0], one.target.key()}] = one.hint_zones[0];
    }
  }
  return out;
}

// Among all ready endpoints of a family, whatever their ports are.
ZoneHintsVerdict add_zone_hints(std::vector<Group>& groups, const std::string& family,
                                const SliceList& existing, const ClusterZones& zones) {
  const auto present = present_hints(existing);
  std::vector<api::Endpoint*> ready;
  std::vector<ZonedEndpoint> zoned;
  for (Group& group : groups) {
    if (group.address_type != family) continue;
    for (auto& [key, wanted] : group.endpoints) {
      if (!wanted.endpoint.ready) continue;
      const auto hint = present.find(key);
      ready.push_back(&wanted.endpoint);
      zoned.push_back({wanted.endpoint.zone, hint == present.end() ? "" : hint->second});
    }
  }
  const auto allocated = allocate_zones(zones, zoned);
  if (!allocated) return {family, allocated.error().message};
  for (size_t i = 0; i < ready.size(); ++i) ready[i]->hint_zones = {(*allocated)[i]};
  return {family, ""};
}

json::array hint_documents(const ShortList<SharedText>& names) {
  json::array list;
  for (const SharedText& name : names) list.push_back(json::object{{"name", name.view()}});
  return list;
}

json::value endpoint_document(const Wanted& wanted) {
  const api::Endpoint& endpoint = wanted.endpoint;
  json::object document{{"addresses", json::array{endpoint.addresses[0].to_string()}},
                        {"conditions",
                         {{"ready", endpoint.ready},
                          {"serving", endpoint.serving},
                          {"terminating", endpoint.terminating}}}};
  if (!endpoint.hostname.empty()) document["hostname"] = endpoint.hostname.view();
  if (!endpoint.node_name.empty()) document["nodeName"] = endpoint.node_name.view();
  if (!endpoint.zone.empty()) document["zone"] = endpoint.zone.view();
  json::object hints;
  if (!endpoint.hint_zones.empty()) hints["forZones"] = hint_documents(endpoint.hint_zones);
  if (!endpoint.hint_nodes.empty()) hints["forNodes"] = hint_documents(endpoint.hint_nodes);
  if (!hints.empty()) document["hints"] = std::move(hints);
  document["targetRef"] = {{"kind", "Pod"},
                           {"namespace", endpoint.target.ns.view()},
                           {"name", endpoint.target.name.view()},
                           {"uid", wanted.pod_uid}};
  return document;
}

json::value port_document(const api::EndpointPort& port) {
  json::object document{{"name", port.name}, {"protocol", to_string(port.protocol)}};
  if (port.port) document["port"] = *port.port;
  if (!port.app_protocol.empty()) document["appProtocol"] = port.app_protocol;
  return document;
}

json::object slice_labels(const api::Service& service) {
  json::object labels;
  for (const auto& [key, value] : service.meta.labels) labels[key] = value;
  labels["kubernetes.io/service-name"] = service.meta.key.name;
  labels[managed_by_label] = slice_manager;
  if (service.headless) labels["service.kubernetes.io/headless"] = "";
  return labels;
}

bool same_labels(const json::object& wanted, const api::StringMap& present) {
  return wanted.size() == present.size() && std::ranges::all_of(present, [&](const auto& entry) {
           const auto* value = wanted.if_contains(entry.first);
           return value != nullptr && value->is_string() && value->get_string() == entry.second;
         });
}

json::value slice_document(const api::Service& service, const Group& group,
                           const std::vector<const Wanted*>& endpoints, std::string_view now) {
  json::array list, ports;
  for (const Wanted* wanted : endpoints) list.push_back(endpoint_document(*wanted));
  for (const auto& port : group.ports) ports.push_back(port_document(port));
  const json::value owner{
      {"apiVersion", "v1"},      {"kind", "Service"},  {"name", service.meta.key.name},
      {"uid", service.meta.uid}, {"controller", true}, {"blockOwnerDeletion", true}};
  return {{"apiVersion", "discovery.k8s.io/v1"},
          {"kind", "EndpointSlice"},
          {"metadata",
           {{"namespace", service.meta.key.ns},
            {"labels", slice_labels(service)},
            {"annotations", {{"endpoints.kubernetes.io/last-change-trigger-time", now}}},
            {"ownerReferences", json::array{owner}}}},
          {"addressType", group.address_type},
          {"endpoints", std::move(list)},
          {"ports", std::move(ports)}};
}

// One existing slice on its way to what it should hold.
struct Draft {
  const api::EndpointSlice* slice;
  std::vector<const Wanted*> kept;
  bool changed = false;
};

// Takes from `left` what the slice holds already.
Draft draft_of(const api::EndpointSlice& slice, std::map<EndpointKey, const Wanted*>& left) {
  Draft draft{&slice, {}, false};
  for (const auto& present : slice.endpoints) {
    const auto found = present.addresses.empty()
                           ? left.end()
                           : left.find({present.addresses[0], present.target.key()});
    if (found == left.end()) {
      draft.changed = true;
      continue;
    }
    draft.changed = draft.changed || !(present == found->second->endpoint);
    draft.kept.push_back(found->second);
    left.erase(found);
  }
  return draft;
}

void plan_group(const api::Service& service, const Group& group,
                const std::vector<const api::EndpointSlice*>& existing, std::string_view now,
                SlicePlan& plan) {
  std::map<EndpointKey, const Wanted*> left;
  for (const auto& [key, wanted] : group.endpoints) left[key] = &wanted;
  // New endpoints go where a write is due anyway, then where there is room.
  std::vector<Draft> drafts, untouched;
  for (const auto* slice : existing) {
    Draft draft = draft_of(*slice, left);
    (draft.changed ? drafts : untouched).push_back(std::move(draft));
  }
  drafts.insert(drafts.end(), untouched.begin(), untouched.end());
  for (Draft& draft : drafts) {
    while (!left.empty() && draft.kept.size() < max_endpoints_per_slice) {
      draft.kept.push_back(left.begin()->second);
      left.erase(left.begin());
      draft.changed = true;
    }
  }
  size_t present = drafts.size();
  for (Draft& draft : drafts) {
    const std::string& name = draft.slice->meta.key.name;
    if (draft.kept.empty() && present > 1) {
      plan.remove.push_back(name);
      --present;
      continue;
    }
    if (!draft.changed && same_labels(slice_labels(service), draft.slice->meta.labels)) continue;
    json::value document = slice_document(service, group, draft.kept, now);
    auto& meta = document.get_object()["metadata"].get_object();
    meta["name"] = name;
    meta["resourceVersion"] = draft.slice->meta.resource_version;
    plan.update.push_back({name, std::move(document)});
  }
  while (!left.empty() || present == 0) {
    std::vector<const Wanted*> batch;
    while (!left.empty() && batch.size() < max_endpoints_per_slice) {
      batch.push_back(left.begin()->second);
      left.erase(left.begin());
    }
    json::value document = slice_document(service, group, batch, now);
    document.get_object()["metadata"].get_object()["generateName"] = service.meta.key.name + "-";
    plan.create.push_back(std::move(document));
    ++present;
  }
}

}  // namespace

bool wants_slices(const api::Service& service) {
  return service.type != api::ServiceType::external_name && !service.selector.empty();
}

bool selects(const api::Service& service, const api::Pod& pod) {
  return pod.meta.key.ns == service.meta.key.ns &&
         std::ranges::all_of(service.selector, [&](const auto& wanted) {
           const auto label = pod.meta.labels.find(wanted.first);
           return label != pod.meta.labels.end() && label->second == wanted.second;
         });
}

bool is_managed(const api::EndpointSlice& slice) {
  const auto label = slice.meta.labels.find(std::string(managed_by_label));
  return label != slice.meta.labels.end() && label->second == slice_manager;
}

SlicePlan plan_slices(const api::Service& service, const PodList& pods, const SliceList& existing,
                      const ClusterZones& zones, std::string_view now) {
  SlicePlan plan;
  std::vector<Group> groups;
  if (wants_slices(service)) {
    groups = make_groups(service, pods, zones);
    for (const std::string& family : families_of(service)) {
      if (!wants_zone_hints(service)) break;
      plan.zone_hints.push_back(add_zone_hints(groups, family, existing, zones));
    }
  }
  std::vector<bool> used(existing.size());
  for (const Group& group : groups) {
    std::vector<const api::EndpointSlice*> own;
    for (size_t i = 0; i < existing.size(); ++i) {
      const api::EndpointSlice& slice = *existing[i];
      if (slice.address_type != group.address_type || slice.ports != group.ports) continue;
      used[i] = true;
      own.push_back(&slice);
    }
    plan_group(service, group, own, now, plan);
  }
  for (size_t i = 0; i < existing.size(); ++i) {
    if (!used[i]) plan.remove.push_back(existing[i]->meta.key.name);
  }
  return plan;
}

}  // namespace fairlead::controlplane
