// A read-only view on the structural schema of the Kubernetes 1.32 kinds (api/data), definition by
// definition: a definition is parsed when it is first asked for, and then kept.
//
// There is no global instance: whoever checks documents owns a Schema. Belongs to one thread, also
// for const calls (they fill the cache). What it hands out lives as long as the Schema.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/json.h"
#include "base/result.h"

namespace fairlead::api {

// One value's type: of a definition, a field, a list item or a map value.
struct TypeSchema {
  // quantity: "100m", 2 or 1.5. time: an RFC 3339 string or null. bytes: base64 text.
  enum class Base {
    object,
    map,
    list,
    string,
    integer,
    number,
    boolean,
    int_or_string,
    quantity,
    time,
    bytes,
    any
  };
  struct Field;

  Base base = Base::any;
  std::string ref;                    // set: the type is definition(ref); see resolve()
  std::string format;                 // "int32", "int64", ...
  std::vector<Field> fields;          // object, ordered by name
  std::unique_ptr<TypeSchema> items;  // list: of an item; map: of a value
  // The x-kubernetes-* extensions, "" when absent (sigs.k8s.io/structured-merge-diff). They may
  // stand beside a ref.
  std::string list_type;  // "atomic", "set", "map"
  std::string map_type;   // "atomic", "granular"
  std::vector<std::string> list_map_keys;
  std::string patch_merge_key;
  std::string patch_strategy;  // "merge", "replace", "retainKeys", "merge,retainKeys"
};

struct TypeSchema::Field {
  std::string name;
  bool required = false;
  TypeSchema type;
};

struct FieldProblem {
  enum class What { unknown_field, wrong_type, missing };
  What what;
  std::string path;     // "spec.ports[0].port"
  std::string problem;  // a clause: "expected an integer, found a string"

  // "unknown field \"spec.x\"", as the API server words it, or "spec.x: " + problem.
  std::string to_string() const;
  friend bool operator==(const FieldProblem&, const FieldProblem&) = default;
};

class Schema {
 public:
  static Result<Schema> load();  // indexes the embedded tables; about 1 ms, 100 KB
  Schema(Schema&&) noexcept;
  Schema& operator=(Schema&&) noexcept;
  ~Schema();

  bool knows(std::string_view api_version, std::string_view kind) const;

  // Unknown fields, ill-typed values and absent required fields, in document order, at most 100.
  // Asking for a kind that the schema does not know gives one problem with the path "kind".
  // `strict` false: unknown fields are no problem.
  std::vector<FieldProblem> check(std::string_view api_version, std::string_view kind,
                                  const json::value& document, bool strict = true) const;

  // "io.k8s.api.core.v1.Service", or "" when unknown.
  std::string_view definition_name(std::string_view api_version, std::string_view kind) const;
  const TypeSchema* definition(std::string_view name) const;  // nullptr when unknown
  const TypeSchema* find(std::string_view api_version, std::string_view kind) const;

  // The type of a member of an object or map type, of a list's item; refs are followed. nullptr
  // when there is none (also below `any`).
  const TypeSchema* field(const TypeSchema& type, std::string_view name) const;
  const TypeSchema* item(const TypeSchema& type) const;
  // A field as it is written, refs not followed: merge and list attributes may stand beside one.
  const TypeSchema::Field* member(const TypeSchema& type, std::string_view name) const;
  const TypeSchema& resolve(const TypeSchema& type) const;  // follows ref

  // JSON text of one definition as it stands in the table, "" when unknown.
  std::string_view definition_text(std::string_view name) const;
  std::vector<std::string_view> definition_names() const;  // ordered

 private:
  struct Impl;
  explicit Schema(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::api
