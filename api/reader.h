// Reads the fields of one JSON object and knows its path, so that an error can name the field.
// Internal to the codecs.
//
// The first error of a document is kept and later ones are dropped; every getter then gives its
// default, so that decoders read straight through without a test per field. An absent field and
// null are the same (API conventions, "Optional vs. Required").
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "api/json.h"
#include "api/objects.h"

namespace fairlead::api {

class Reader {
 public:
  // The whole document. `error` receives the first error as "path: problem" and outlives this.
  Reader(const json::value& document, std::string& error);

  bool has(std::string_view field) const { return member(field) != nullptr; }
  std::string string(std::string_view field) const;
  bool boolean(std::string_view field, bool absent) const;
  int64_t integer(std::string_view field, int64_t low, int64_t high, int64_t absent = 0) const;
  IntOrString int_or_string(std::string_view field, int32_t low, int32_t high) const;
  StringMap string_map(std::string_view field) const;
  std::vector<std::string> strings(std::string_view field) const;
  std::vector<Ip> ips(std::string_view field) const;
  std::optional<Ip> ip(std::string_view field) const;
  Protocol protocol(std::string_view field) const;  // absent: TCP

  // An object member; reading from an absent one gives defaults.
  Reader object(std::string_view field) const;
  // Visits the objects of an array member.
  void each(std::string_view field, const std::function<void(const Reader&)>& visit) const;
  void each_member(std::string_view field,
                   const std::function<void(std::string_view, const json::value&)>& visit) const;

  // Records an error about a field of this object ("" for the object itself).
  void fail(std::string_view field, std::string_view problem) const;
  bool failed() const { return !error_->empty(); }

 private:
  Reader(const Reader& parent, std::string_view field, int index, const json::object* object)
      : parent_(&parent), field_(field), index_(index), object_(object), error_(parent.error_) {}
  const json::value* member(std::string_view field) const;
  std::string path() const;
  void fail_type(std::string_view field, std::string_view expected, const json::value& got) const;
  void each_value(std::string_view field,
                  const std::function<void(const json::value&, std::string_view)>& visit) const;

  const Reader* parent_ = nullptr;
  std::string_view field_;
  int index_ = -1;
  const json::object* object_ = nullptr;
  std::string* error_;
};

std::string_view type_name(const json::value& value);  // "a string", "null", ...

}  // namespace fairlead::api
