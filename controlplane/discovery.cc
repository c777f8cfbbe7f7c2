#include "controlplane/discovery.h"

#include <algorithm>

#include "api/json.h"
#include "base/text.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kJson = "application/json";

json::array names(const std::vector<std::string_view>& values) {
  json::array out;
  for (std::string_view value : values) out.push_back(json::string(value));
  return out;
}

json::string text(std::string_view value) { return json::string(value); }

// "v2", "v2beta1", or "" when the client does not ask for an aggregated document.
std::string_view aggregated_version(std::string_view accept) {
  for (std::string_view entry : split(accept, ',')) {
    std::string_view version;
    bool group = false, list = false;
    for (std::string_view part : split(entry, ';')) {
      part = trim(part);
      if (part.starts_with("v=")) version = part.substr(2);
      group |= part == "g=apidiscovery.k8s.io";
      list |= part == "as=APIGroupDiscoveryList";
    }
    if (group && list && version == "v2") return "v2";
    if (group && list && version == "v2beta1") return "v2beta1";
  }
  return {};
}

// Of an eviction, the body is a kind of another group.
json::object subresource_kind(const Resource& row, const Subresource& sub) {
  if (sub.name == "eviction") return {{"group", "policy"}, {"version", "v1"}, {"kind", "Eviction"}};
  return {{"group", text(row.group)}, {"version", text(row.version)}, {"kind", text(row.kind)}};
}

json::object aggregated_resource(const Resource& row) {
  json::object out{{"resource", text(row.plural)},
                   {"responseKind", json::object{{"group", text(row.group)},
                                                 {"version", text(row.version)},
                                                 {"kind", text(row.kind)}}},
                   {"scope", row.namespaced ? "Namespaced" : "Cluster"},
                   {"singularResource", text(row.singular)},
                   {"verbs", names(row.verbs)}};
  if (!row.short_names.empty()) out["shortNames"] = names(row.short_names);
  if (!row.categories.empty()) out["categories"] = names(row.categories);
  json::array subresources;
  for (const Subresource& sub : row.subresources)
    subresources.push_back(json::object{{"subresource", text(sub.name)},
                                        {"responseKind", subresource_kind(row, sub)},
                                        {"verbs", names(sub.verbs)}});
  if (!subresources.empty()) out["subresources"] = std::move(subresources);
  return out;
}

// Versions of one group, in order of preference, with their resources.
json::array aggregated_versions(const ResourceTable& table, std::string_view group) {
  std::vector<std::string_view> versions;
  for (const Resource& row : table.all())
    if (row.group == group && std::ranges::find(versions, row.version) == versions.end())
      versions.push_back(row.version);
  json::array out;
  for (std::string_view version : versions) {
    json::array resources;
    for (const Resource& row : table.all())
      if (row.group == group && row.version == version)
        resources.push_back(aggregated_resource(row));
    out.push_back(json::object{
        {"version", text(version)}, {"resources", std::move(resources)}, {"freshness", "Current"}});
  }
  return out;
}

std::vector<std::string_view> group_names(const ResourceTable& table) {
  std::vector<std::string_view> out;
  for (const Resource& row : table.all())
    if (!row.group.empty() && std::ranges::find(out, row.group) == out.end())
      out.push_back(row.group);
  return out;
}

DiscoveryAnswer aggregated(const ResourceTable& table, std::string_view version,
                           const std::vector<std::string_view>& groups) {
  json::array items;
  for (std::string_view group : groups) {
    json::object metadata{{"creationTimestamp", nullptr}};
    if (!group.empty()) metadata["name"] = text(group);
    items.push_back(json::object{{"metadata", std::move(metadata)},
                                 {"versions", aggregated_versions(table, group)}});
  }
  json::object out{{"kind", "APIGroupDiscoveryList"},
                   {"apiVersion", cat("apidiscovery.k8s.io/", version)},
                   {"metadata", json::object{}},
                   {"items", std::move(items)}};
  return {cat(kJson, ";g=apidiscovery.k8s.io;v=", version, ";as=APIGroupDiscoveryList"),
          json::serialize(out)};
}

json::object group_object(const ResourceTable& table, std::string_view group) {
  json::array versions;
  for (const std::string& name : table.group_versions()) {
    size_t slash = name.find('/');
    if (slash == std::string::npos || std::string_view(name).substr(0, slash) != group) continue;
    versions.push_back(json::object{{"groupVersion", name}, {"version", name.substr(slash + 1)}});
  }
  json::value preferred = versions.empty() ? json::value() : versions.front();
  return {{"name", text(group)},
          {"versions", std::move(versions)},
          {"preferredVersion", std::move(preferred)}};
}

json::object legacy_resource(const Resource& row) {
  json::object out{{"name", text(row.plural)},
                   {"singularName", text(row.singular)},
                   {"namespaced", row.namespaced},
                   {"kind", text(row.kind)},
                   {"verbs", names(row.verbs)}};
  if (!row.short_names.empty()) out["shortNames"] = names(row.short_names);
  if (!row.categories.empty()) out["categories"] = names(row.categories);
  return out;
}

json::object legacy_subresource(const Resource& row, const Subresource& sub) {
  json::object kind = subresource_kind(row, sub);
  json::object out{{"name", cat(row.plural, "/", sub.name)},
                   {"singularName", ""},
                   {"namespaced", row.namespaced},
                   {"kind", kind["kind"]},
                   {"verbs", names(sub.verbs)}};
  if (kind["group"] != json::value(text(row.group))) {
    out["group"] = kind["group"];
    out["version"] = kind["version"];
  }
  return out;
}

}  // namespace

DiscoveryAnswer discover_core(const ResourceTable& table, std::string_view accept,
                              std::string_view server_address) {
  if (std::string_view version = aggregated_version(accept); !version.empty())
    return aggregated(table, version, {""});
  json::array addresses{
      json::object{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", text(server_address)}}};
  json::object out{{"kind", "APIVersions"}, {"versions", json::array{"v1"}}};
  out["serverAddressByClientCIDRs"] = std::move(addresses);
  return {std::string(kJson), json::serialize(out)};
}

DiscoveryAnswer discover_groups(const ResourceTable& table, std::string_view accept) {
  std::vector<std::string_view> groups = group_names(table);
  if (std::string_view version = aggregated_version(accept); !version.empty())
    return aggregated(table, version, groups);
  json::array items;
  for (std::string_view group : groups) items.push_back(group_object(table, group));
  json::object out{{"kind", "APIGroupList"}, {"apiVersion", "v1"}};
  out["groups"] = std::move(items);
  return {std::string(kJson), json::serialize(out)};
}

std::optional<std::string> discover_group(const ResourceTable& table, std::string_view group) {
  std::vector<std::string_view> groups = group_names(table);
  if (std::ranges::find(groups, group) == groups.end()) return std::nullopt;
  json::object out = group_object(table, group);
  out["kind"] = "APIGroup";
  out["apiVersion"] = "v1";
  return json::serialize(out);
}

std::optional<std::string> discover_version(const ResourceTable& table, std::string_view group,
                                            std::string_view version) {
  json::array resources;
  for (const Resource& row : table.all()) {
    if (row.group != group || row.version != version) continue;
    resources.push_back(legacy_resource(row));
    for (const Subresource& sub : row.subresources)
      resources.push_back(legacy_subresource(row, sub));
  }
  if (resources.empty()) return std::nullopt;
  json::object out{
      {"kind", "APIResourceList"},
      {"apiVersion", "v1"},
      {"groupVersion", group.empty() ? std::string(version) : cat(group, "/", version)}};
  out["resources"] = std::move(resources);
  return json::serialize(out);
}

std::string version_document() {
  json::object out{
      {"major", "1"},        {"minor", "32"},           {"gitVersion", "v1.32.0+fairlead"},
      {"gitCommit", ""},     {"gitTreeState", "clean"}, {"buildDate", "1970-01-01T00:00:00Z"},
      {"goVersion", "none"}, {"compiler", "c++"},       {"platform", "linux/amd64"}};
  return json::serialize(out);
}

}  // namespace fairlead::controlplane
