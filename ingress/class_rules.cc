#include "ingress/class_rules.h"

namespace fairlead::ingress {
namespace {

std::string annotation(const api::Meta& meta, const std::string& name) {
  const auto found = meta.annotations.find(name);
  return found == meta.annotations.end() ? "" : found->second;
}

}  // namespace

ClassRules::ClassRules(const api::Snapshot& snapshot, std::string controller,
                       bool watch_without_class)
    : controller_(std::move(controller)), serves_classless_(watch_without_class) {
  std::pair<std::string, std::string> newest;  // creation time, name
  std::string default_controller;
  snapshot.each<api::IngressClass>([&](const api::IngressClass& ingress_class) {
    const api::Meta& meta = ingress_class.meta;
    controllers_[meta.key.name] = ingress_class.controller;
    if (annotation(meta, "ingressclass.kubernetes.io/is-default-class") != "true") return;
    const std::pair order(meta.creation_timestamp, meta.key.name);
    if (order < newest) return;
    newest = order;
    default_controller = ingress_class.controller;
  });
  if (!newest.second.empty() && default_controller == controller_) serves_classless_ = true;
}

bool ClassRules::serves(const api::Ingress& ingress) const {
  std::string name = annotation(ingress.meta, "kubernetes.io/ingress.class");
  if (name.empty()) name = ingress.class_name;
  if (name.empty()) return serves_classless_;
  const auto found = controllers_.find(name);
  return found != controllers_.end() && found->second == controller_;
}

}  // namespace fairlead::ingress
