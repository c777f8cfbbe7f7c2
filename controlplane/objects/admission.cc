#include "controlplane/objects/admission.h"

#include <array>

#include "controlplane/objects/json_values.h"
#include "controlplane/objects/kind_rules.h"

namespace fairlead::controlplane {
namespace {

const std::array kRules = {&namespace_rules,      &node_rules,      &event_rules,
                           &lease_rules,          &pod_rules,       &service_rules,
                           &endpoint_slice_rules, &endpoints_rules, &ingress_rules,
                           &ingress_class_rules,  &secret_rules,    &config_map_rules};

Admitted finish(json::value object, Problems& problems) {
  return {std::move(object), problems.take_warnings(), problems.take_errors()};
}

Admitted not_an_object(json::value object) {
  Problems problems;
  problems.invalid("", object, "must be an object");
  return finish(std::move(object), problems);
}

}  // namespace

const KindRules* find_kind_rules(std::string_view api_version, std::string_view kind) {
  for (const KindRules* rules : kRules)
    if (rules->kind == kind && rules->api_version == api_version) return rules;
  return nullptr;
}

Admitted admit_create(std::string_view api_version, std::string_view kind, json::value object) {
  if (!object.is_object()) return not_an_object(std::move(object));
  json::object& document = object.get_object();
  const KindRules* rules = find_kind_rules(api_version, kind);
  Problems problems;
  if (rules == nullptr) {
    validate_metadata(KindRules{api_version, kind}, document, problems);
    return finish(std::move(object), problems);
  }
  if (rules->server_status) document.erase("status");
  if (rules->defaults != nullptr) rules->defaults(document);
  validate_metadata(*rules, document, problems);
  if (rules->validate != nullptr) rules->validate(document, problems);
  if (rules->validate_create != nullptr) rules->validate_create(document, problems);
  return finish(std::move(object), problems);
}

Admitted admit_update(std::string_view api_version, std::string_view kind, const json::value& old,
                      json::value object) {
  if (!object.is_object() || !old.is_object()) return not_an_object(std::move(object));
  json::object& document = object.get_object();
  const json::object& before = old.get_object();
  const KindRules* rules = find_kind_rules(api_version, kind);
  Problems problems;
  if (rules == nullptr) {
    validate_metadata(KindRules{api_version, kind}, document, problems);
    validate_metadata_update(before, document, problems);
    return finish(std::move(object), problems);
  }
  if (rules->server_status || rules->kind == "Node") {
    document.erase("status");
    if (has(before, "status")) document["status"] = before.at("status");
  }
  if (rules->carry_over != nullptr) rules->carry_over(before, document);
  if (rules->defaults != nullptr) rules->defaults(document);
  validate_metadata(*rules, document, problems);
  validate_metadata_update(before, document, problems);
  if (rules->validate != nullptr) rules->validate(document, problems);
  if (rules->validate_update != nullptr) rules->validate_update(before, document, problems);
  return finish(std::move(object), problems);
}

}  // namespace fairlead::controlplane
