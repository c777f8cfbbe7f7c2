// Which Ingress objects are ours.
#pragma once

#include <map>
#include <string>

#include "api/snapshot.h"

namespace fairlead::ingress {

// The IngressClasses of a Snapshot. The annotation kubernetes.io/ingress.class wins over
// spec.ingressClassName; an Ingress with neither belongs to the default class (the newest one, when
// several say that they are). A class that does not exist serves nothing.
class ClassRules {
 public:
  ClassRules() = default;
  ClassRules(const api::Snapshot& snapshot, std::string controller, bool watch_without_class);

  bool serves(const api::Ingress& ingress) const;

 private:
  std::string controller_;
  std::map<std::string, std::string> controllers_;  // by class name
  bool serves_classless_ = false;
};

}  // namespace fairlead::ingress
