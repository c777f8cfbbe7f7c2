// Collects what is wrong with an object, in the words of the API server.
// Source: apimachinery pkg/util/validation/field/errors.go (kinds of errors, their text).
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/objects/admission.h"

namespace fairlead::controlplane {

class Problems {
 public:
  void required(std::string field, std::string_view detail = {});
  void invalid(std::string field, const json::value& value, std::string_view detail);
  // One error per complaint, as name checks give them.
  void invalid(const std::string& field, std::string_view value,
               const std::vector<std::string>& complaints);
  void not_supported(std::string field, std::string_view value,
                     std::initializer_list<std::string_view> supported);
  void duplicate(std::string field, const json::value& value);
  void not_found(std::string field, const json::value& value);
  void forbidden(std::string field, std::string_view detail);
  void too_long(std::string field, size_t max_bytes);
  void too_many(std::string field, size_t count, size_t max);
  void internal(std::string field, std::string_view detail);
  void warn(std::string text) { warnings_.push_back(std::move(text)); }

  // A value that must be in the list; absent ones are "required".
  void one_of(const std::string& field, std::string_view value,
              std::initializer_list<std::string_view> supported);

  bool empty() const { return errors_.empty(); }
  std::vector<FieldError> take_errors() { return std::move(errors_); }
  std::vector<std::string> take_warnings() { return std::move(warnings_); }

 private:
  void add(std::string field, std::string_view reason, std::string_view title,
           const json::value* value, std::string_view detail);

  std::vector<FieldError> errors_;
  std::vector<std::string> warnings_;
};

// "ports[3]"
std::string indexed(std::string_view field, size_t index);

}  // namespace fairlead::controlplane
