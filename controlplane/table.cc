// Which printer a kind has, and the printers of kinds that need only a line or two.
#include <algorithm>

#include "base/text.h"
#include "controlplane/table_cells.h"
#include "controlplane/time_text.h"
#include "controlplane/view.h"

namespace fairlead::controlplane {
namespace {

const json::array kNoItems;

using Printer = json::array (*)(const json::value& object, WallTime now);

json::array namespace_cells(const json::value& object, WallTime now) {
  return {find_string(object, "metadata", "name"), find_string(object, "status", "phase"),
          age_of(object, now)};
}

json::array config_map_cells(const json::value& object, WallTime now) {
  return {find_string(object, "metadata", "name"),
          member_count(object, "data") + member_count(object, "binaryData"), age_of(object, now)};
}

json::array secret_cells(const json::value& object, WallTime now) {
  return {find_string(object, "metadata", "name"), find_string(object, "type"),
          member_count(object, "data"), age_of(object, now)};
}

json::array lease_cells(const json::value& object, WallTime now) {
  return {find_string(object, "metadata", "name"), find_string(object, "spec", "holderIdentity"),
          age_of(object, now)};
}

constexpr std::pair<std::string_view, Printer> kPrinters[] = {
    {"Namespace", namespace_cells},
    {"ConfigMap", config_map_cells},
    {"Secret", secret_cells},
    {"Lease", lease_cells},
    {"Pod", pod_cells},
    {"Node", node_cells},
    {"Event", event_cells},
    {"Service", service_cells},
    {"Endpoints", endpoints_cells},
    {"EndpointSlice", endpoint_slice_cells},
    {"Ingress", ingress_cells},
    {"IngressClass", ingress_class_cells},
};

}  // namespace

json::array table_cells(const Resource& resource, const json::value& object, WallTime now) {
  for (const auto& [kind, printer] : kPrinters)
    if (kind == resource.kind) return printer(object, now);
  return {find_string(object, "metadata", "name"), age_of(object, now)};
}

std::string age_of(const json::value& object, WallTime now) {
  return age(find_string(object, "metadata", "creationTimestamp"), now);
}

std::string label_text(const json::value* map) {
  if (map == nullptr || !map->is_object() || map->get_object().empty()) return "<none>";
  std::vector<std::string> pairs;
  for (const auto& [key, value] : map->get_object())
    pairs.push_back(cat(std::string_view(key.data(), key.size()), "=", number_text(&value)));
  std::ranges::sort(pairs);
  return join(pairs, ",");
}

int64_t member_count(const json::value& object, std::string_view member) {
  const json::value* map = find(object, member);
  return map != nullptr && map->is_object() ? static_cast<int64_t>(map->get_object().size()) : 0;
}

std::string text_or(std::string_view text, std::string_view otherwise) {
  return std::string(text.empty() ? otherwise : text);
}

std::string number_text(const json::value* value) {
  if (value == nullptr || value->is_null()) return {};
  if (value->is_string()) return {value->get_string().data(), value->get_string().size()};
  return json::serialize(*value);
}

const json::array& list_at(const json::value& object, std::string_view key) {
  const json::value* list = find(object, key);
  return list != nullptr && list->is_array() ? list->get_array() : kNoItems;
}

const json::array& list_at(const json::value& object, std::string_view key,
                           std::string_view inner) {
  const json::value* parent = find(object, key);
  return parent == nullptr ? kNoItems : list_at(*parent, inner);
}

}  // namespace fairlead::controlplane
