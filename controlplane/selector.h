// Label and field selectors of list and watch requests.
// Source: apimachinery pkg/labels and pkg/fields (grammar), spec of each row's fields.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "controlplane/store.h"

namespace fairlead::controlplane {

// "app=web,tier in (a, b),!beta". All requirements must hold; != and notin also match objects
// without the key.
class LabelSelector {
 public:
  static Result<LabelSelector> parse(std::string_view text);
  bool matches(const std::vector<std::pair<std::string, std::string>>& labels) const;
  bool empty() const { return requirements_.empty(); }

 private:
  enum class Operator { in, not_in, exists, absent };
  struct Requirement {
    std::string key;
    Operator op = Operator::exists;
    std::vector<std::string> values;
  };
  class Parser;
  std::vector<Requirement> requirements_;
};

// "spec.nodeName=n1,status.phase!=Failed". `\,`, `\=` and `\\` are escapes.
class FieldSelector {
 public:
  static Result<FieldSelector> parse(const Resource& resource, std::string_view text);
  bool matches(const StoredObject& object) const;
  bool empty() const { return requirements_.empty(); }
  // The name that metadata.name= asks for, or "".
  std::string_view name() const;

 private:
  static constexpr size_t name_field = SIZE_MAX, namespace_field = SIZE_MAX - 1;
  struct Requirement {
    size_t field = 0;  // index into Resource::fields, or one of the two above
    std::string value;
    bool equal = true;
  };
  static Result<Requirement> parse_one(const Resource& resource, std::string_view text);
  std::vector<Requirement> requirements_;
};

// What a list or a watch asks for.
struct Selection {
  std::string ns;  // "" = every namespace
  LabelSelector labels;
  FieldSelector fields;

  bool matches(const StoredObject& object) const {
    return (ns.empty() || object.ns == ns) && fields.matches(object) &&
           labels.matches(object.labels);
  }
  bool selective() const { return !labels.empty() || !fields.empty(); }
};

}  // namespace fairlead::controlplane
