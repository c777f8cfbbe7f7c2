// The rules of each kind, as one row per kind. Internal to admission.
#pragma once

#include <string>
#include <string_view>

#include "api/json.h"
#include "base/text.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/names.h"
#include "controlplane/objects/problems.h"

namespace fairlead::controlplane {

struct KindRules {
  std::string_view api_version;
  std::string_view kind;
  bool namespaced = true;
  Complaints (*name)(std::string_view) = dns_subdomain;
  // The control plane, not the client, says what a new object's status is.
  bool server_status = false;
  void (*defaults)(json::object& object) = nullptr;
  // What an update may leave out or must not touch; runs before defaults.
  void (*carry_over)(const json::object& old, json::object& object) = nullptr;
  void (*validate)(const json::object& object, Problems& problems) = nullptr;
  void (*validate_create)(const json::object& object, Problems& problems) = nullptr;
  void (*validate_update)(const json::object& old, const json::object& object,
                          Problems& problems) = nullptr;
};

const KindRules* find_kind_rules(std::string_view api_version, std::string_view kind);

// Rules of every kind's metadata (apimachinery pkg/api/validation/objectmeta.go).
void validate_metadata(const KindRules& rules, const json::object& object, Problems& problems);
void validate_metadata_update(const json::object& old, const json::object& object,
                              Problems& problems);
void validate_labels(const json::object& labels, const std::string& field, Problems& problems);

extern const KindRules namespace_rules, node_rules, event_rules, lease_rules;  // cluster_rules.cc
extern const KindRules pod_rules;                                              // pod_rules.cc
extern const KindRules service_rules;                                          // service_rules.cc
extern const KindRules endpoint_slice_rules, endpoints_rules;                  // endpoint_rules.cc
extern const KindRules ingress_rules, ingress_class_rules;                     // ingress_rules.cc
extern const KindRules secret_rules, config_map_rules;                         // data_rules.cc

// pod_defaults.cc
void default_pod(json::object& pod);

// service_update.cc
void carry_over_service(const json::object& old, json::object& service);
void validate_service_update(const json::object& old, const json::object& service,
                             Problems& problems);

// Calls visit(item, "<prefix>key[i]") for the objects, or the strings, of a list member.
template <class Visit>
void each_object(const json::object& parent, std::string_view key, std::string_view prefix,
                 Visit visit) {
  const json::array* items = array_at(parent, key);
  if (items == nullptr) return;
  for (size_t i = 0; i < items->size(); ++i)
    if (const json::object* item = (*items)[i].if_object())
      visit(*item, indexed(cat(prefix, key), i));
}

template <class Visit>
void each_string(const json::object& parent, std::string_view key, std::string_view prefix,
                 Visit visit) {
  const json::array* items = array_at(parent, key);
  if (items == nullptr) return;
  for (size_t i = 0; i < items->size(); ++i)
    if (const json::string* item = (*items)[i].if_string())
      visit(view(*item), indexed(cat(prefix, key), i));
}

}  // namespace fairlead::controlplane
