#include "api/schema_check.h"

#include <chrono>

#include "api/quantity.h"
#include "api/reader.h"
#include "base/clock.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

using Base = TypeSchema::Base;
using What = FieldProblem::What;

std::string_view text_of(const json::value& value) {
  return {value.get_string().data(), value.get_string().size()};
}

// RFC 3339 as Go's time.Parse takes it: of any year, which a clock may not have, so that another of
// the same length stands for it; with capital letters.
bool is_time(std::string_view text) {
  constexpr size_t digits = 4;
  const auto year = parse_int(text.substr(0, digits), 0, 9999);
  if (!year || text.size() < digits || text.find_first_of("tz") != text.npos) return false;
  const bool leap = std::chrono::year(static_cast<int>(*year)).is_leap();
  return parse_rfc3339(cat(leap ? "2000" : "2001", text.substr(digits))).has_value();
}

// Walks a document next to its type. The path is one string that grows and shrinks on the way, so
// that a document without problems costs no allocation per field.
class Checker {
 public:
  Checker(const Schema& schema, bool strict) : schema_(schema), strict_(strict) {}

  // null stands for absent everywhere, as Go decodes it.
  void check(const TypeSchema& unresolved, const json::value& value) {
    if (problems.size() >= max_field_problems || value.is_null()) return;
    const TypeSchema& type = schema_.resolve(unresolved);
    switch (type.base) {
      case Base::object:
        return check_object(type, value);
      case Base::map:
        return check_map(type, value);
      case Base::list:
        return check_list(type, value);
      default:
        return check_scalar(type, value);
    }
  }

  std::vector<FieldProblem> problems;

 private:
  void report(What what, std::string problem) {
    problems.push_back({what, path_, std::move(problem)});
  }
  void wrong(std::string_view expected, const json::value& value) {
    report(What::wrong_type, cat("expected ", expected, ", found ", type_name(value)));
  }

  // Runs `body` with one more step on the path.
  template <class Body>
  void below(std::string_view step, Body body) {
    const size_t length = path_.size();
    if (!path_.empty() && step.front() != '[') path_ += '.';
    path_ += step;
    body();
    path_.resize(length);
  }

  void check_object(const TypeSchema& type, const json::value& value) {
    const json::object* object = value.if_object();
    if (object == nullptr) return wrong("an object", value);
    for (const auto& member : *object) {
      const std::string_view name{member.key().data(), member.key().size()};
      const TypeSchema* field = schema_.field(type, name);
      if (field == nullptr && !strict_) continue;
      below(name.empty() ? "\"\"" : name, [&] {
        if (field != nullptr) return check(*field, member.value());
        if (problems.size() < max_field_problems) report(What::unknown_field, "unknown field");
      });
    }
    // Missing fields after the present ones: the order in which a person reads the file.
    for (const auto& field : type.fields) {
      if (!field.required || problems.size() >= max_field_problems) continue;
      const json::value* member = object->if_contains(field.name);
      if (member != nullptr && !member->is_null()) continue;
      below(field.name, [&] { report(What::missing, "missing"); });
    }
  }

  void check_map(const TypeSchema& type, const json::value& value) {
    const json::object* object = value.if_object();
    if (object == nullptr) return wrong("an object", value);
    for (const auto& member : *object) {
      const std::string_view name{member.key().data(), member.key().size()};
      below(cat('[', name, ']'), [&] { check(*type.items, member.value()); });
    }
  }

  void check_list(const TypeSchema& type, const json::value& value) {
    const json::array* array = value.if_array();
    if (array == nullptr) return wrong("a list", value);
    for (size_t i = 0; i < array->size(); ++i) {
      below(cat('[', i, ']'), [&] { check(*type.items, (*array)[i]); });
    }
  }

  void check_scalar(const TypeSchema& type, const json::value& value) {
    const bool whole = value.is_int64() || value.is_uint64();
    switch (type.base) {
      case Base::string:
        if (!value.is_string()) wrong("a string", value);
        return;
      case Base::boolean:
        if (!value.is_bool()) wrong("true or false", value);
        return;
      case Base::integer:
        if (!whole) return wrong("an integer", value);
        return check_range(type.format == "int32", value);
      case Base::number:
        if (!value.is_number()) wrong("a number", value);
        return;
      case Base::int_or_string:
        if (value.is_string()) return;
        if (!whole) return wrong("an integer or a string", value);
        return check_range(true, value);
      case Base::quantity:
        if (value.is_number()) return;
        if (!value.is_string()) return wrong("a quantity", value);
        if (!parse_quantity(text_of(value)))
          report(What::wrong_type, "is not a quantity like 500m or 2Gi");
        return;
      case Base::time:
        if (!value.is_string()) return wrong("an RFC 3339 time", value);
        if (!is_time(text_of(value))) report(What::wrong_type, "is not an RFC 3339 time");
        return;
      case Base::bytes:
        if (!value.is_string()) return wrong("base64 text", value);
        if (!base64_decode(text_of(value))) report(What::wrong_type, "is not base64");
        return;
      default:
        return;
    }
  }

  // Go decodes into int32 or int64 and refuses what does not fit.
  void check_range(bool int32, const json::value& value) {
    // A value that a program made may be unsigned and small; one that was parsed is not.
    boost::system::error_code too_large;
    const auto number = value.to_number<int64_t>(too_large);
    if (too_large) return report(What::wrong_type, "is larger than a 64-bit integer");
    if (int32 && (number < INT32_MIN || number > INT32_MAX)) {
      report(What::wrong_type, cat(number, " is not a 32-bit integer"));
    }
  }

  const Schema& schema_;
  bool strict_;
  std::string path_;
};

}  // namespace

std::vector<FieldProblem> check_value(const Schema& schema, const TypeSchema& type,
                                      const json::value& document, bool strict) {
  Checker checker(schema, strict);
  checker.check(type, document);
  if (document.is_null()) {
    checker.problems.push_back({What::wrong_type, "", "expected an object, found null"});
  }
  return std::move(checker.problems);
}

}  // namespace fairlead::api
