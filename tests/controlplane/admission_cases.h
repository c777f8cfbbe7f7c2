// Cases of admission as text (text_cases.h): what is written, and what becomes of it.
//
//   -- kind v1 Service
//   -- old     the object as it was stored; with it the case is an update
//   -- object  what a client sends; without metadata it is called "web", in "default"
//   -- want    members that the result has; null: a member that it has not
//   -- errors  one per line, in order; "..." at the end of a line stands for the rest
//   -- warnings
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controlplane/objects/admission.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/kind_rules.h"
#include "controlplane/objects/rules.h"
#include "tests/text_cases.h"

namespace fairlead::controlplane {

// Where `got` lacks what `want` has; "" when it lacks nothing.
inline std::string lacks(const json::value& got, const json::value& want, const std::string& at) {
  const auto shown = [&] {
    return cat(at, ": got ", json::serialize(got), ", want ", json::serialize(want));
  };
  if (want.is_array()) {
    const json::array* items = got.if_array();
    if (items == nullptr || items->size() != want.get_array().size()) return shown();
    for (size_t i = 0; i < items->size(); ++i)
      if (auto miss = lacks((*items)[i], want.get_array()[i], cat(at, "[", i, "]")); !miss.empty())
        return miss;
    return {};
  }
  if (!want.is_object()) return same_value(got, want) ? std::string() : shown();
  const json::object* members = got.if_object();
  if (members == nullptr) return shown();
  for (const auto& member : want.get_object()) {
    const std::string path = cat(at, ".", view(member.key()));
    const json::value* found = members->if_contains(member.key());
    if (member.value().is_null()) {
      if (found != nullptr) return cat(path, ": is there: ", json::serialize(*found));
      continue;
    }
    if (found == nullptr) return path + ": is not there";
    if (auto miss = lacks(*found, member.value(), path); !miss.empty()) return miss;
  }
  return {};
}

// The machine's word for an error must agree with the one that people read.
inline std::string_view reason_of(std::string_view detail) {
  constexpr std::pair<std::string_view, std::string_view> titles[] = {
      {"Required value", "FieldValueRequired"},  {"Invalid value", "FieldValueInvalid"},
      {"Unsupported", "FieldValueNotSupported"}, {"Duplicate value", "FieldValueDuplicate"},
      {"Not found", "FieldValueNotFound"},       {"Forbidden", "FieldValueForbidden"},
      {"Too long", "FieldValueTooLong"},         {"Too many", "FieldValueTooMany"},
      {"Internal error", "InternalError"}};
  for (const auto& [title, reason] : titles)
    if (detail.starts_with(title)) return reason;
  return "";
}

inline void expect_lines(const std::vector<std::string>& got,
                         const std::vector<std::string>& want) {
  std::string all;
  for (const std::string& line : got) all += line + "\n";
  ASSERT_EQ(got.size(), want.size()) << all;
  for (size_t i = 0; i < want.size(); ++i) {
    std::string_view line = want[i];
    if (!line.ends_with("...")) {
      EXPECT_EQ(got[i], line);
      continue;
    }
    line.remove_suffix(3);
    EXPECT_TRUE(got[i].starts_with(line)) << got[i] << "\nwant " << line << "...";
  }
}

inline json::value with_metadata(json::value object, bool namespaced) {
  if (!object.is_object() || object.get_object().contains("metadata")) return object;
  json::object metadata{{"name", "web"}};
  if (namespaced) metadata["namespace"] = "default";
  object.get_object()["metadata"] = std::move(metadata);
  return object;
}

// Defaults are fields that the schema knows, of the types that it says.
inline void expect_fits_schema(std::string_view version, std::string_view kind,
                               const json::value& object) {
  static const ObjectRules rules = *ObjectRules::load();
  const std::string api_version(version), name(kind);
  if (!rules.schema().knows(api_version, name)) return;
  EXPECT_EQ(rules.strict_problems(api_version, name, object), std::vector<std::string>());
  EXPECT_EQ(rules.type_problems(api_version, name, object), std::vector<std::string>());
}

inline void run_admission(const TextCase& test) {
  const std::string named = test.text("kind");
  const auto kind = split(named, ' ');
  ASSERT_EQ(kind.size(), 2u) << named;
  const KindRules* rules = find_kind_rules(kind[0], kind[1]);
  const bool namespaced = rules == nullptr || rules->namespaced;
  json::value object = with_metadata(test.json("object"), namespaced);
  ASSERT_FALSE(object.is_string()) << object;
  Admitted got;
  if (test.has("old")) {
    Admitted old = admit_create(kind[0], kind[1], with_metadata(test.json("old"), namespaced));
    ASSERT_TRUE(old.errors.empty()) << "old: " << to_string(old.errors);
    got = admit_update(kind[0], kind[1], old.object, std::move(object));
  } else {
    got = admit_create(kind[0], kind[1], std::move(object));
  }
  std::vector<std::string> errors;
  for (const FieldError& error : got.errors) {
    errors.push_back(error.to_string());
    EXPECT_EQ(error.reason, reason_of(error.detail)) << errors.back();
  }
  expect_lines(errors, test.lines("errors"));
  expect_lines(got.warnings, test.lines("warnings"));
  if (test.has("want")) {
    EXPECT_EQ(lacks(got.object, test.json("want"), ""), "");
  }
  if (!got.errors.empty()) return;
  expect_fits_schema(kind[0], kind[1], got.object);
  // What was admitted once is admitted unchanged again: defaults are stable.
  const Admitted again = admit_update(kind[0], kind[1], got.object, got.object);
  EXPECT_EQ(to_string(again.errors), "[]");
  EXPECT_TRUE(same_value(again.object, got.object))
      << "first  " << json::serialize(got.object) << "\nsecond " << json::serialize(again.object);
}

}  // namespace fairlead::controlplane
