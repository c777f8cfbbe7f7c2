// Manifests as a person writes them: text to objects, and everything that is wrong with them as
// file:line. Used by `fairlead validate` and by the directory feed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/codec.h"
#include "api/schema.h"

namespace fairlead::api {

struct Problem {
  std::string file;
  int line = 0;          // 0: the file as a whole
  std::string object;    // "Service default/web", or ""
  std::string message;   // "spec.ports[0].port: 70000 is not in 1..65535"
  bool warning = false;  // worth a look, but the object is used

  std::string to_string() const;  // "web.yaml:12: Service default/web: ..."
  friend bool operator==(const Problem&, const Problem&) = default;
};

struct LocatedObject {
  Object object;
  std::string file;
  int line = 0;
};

struct Manifests {
  std::vector<LocatedObject> objects;  // of the nine kinds, those that decode
  std::vector<Problem> problems;       // in file order
  size_t other_kinds = 0;              // objects of known kinds that the feed does not carry

  bool ok() const;  // no problem but warnings
};

// Adds one file's objects and problems: parse, schema, decode. `List` documents are opened. Kinds
// that neither the feed nor the schema know are problems.
void read_manifests(std::string_view text, std::string_view file, const Schema& schema,
                    Manifests& into);

// What the schema cannot say: duplicate ports, bad names, an Ingress that names a Service which is
// not among the objects (a warning), a TLS Secret without a key ...
std::vector<Problem> semantic_problems(const Manifests& manifests);

// Reads the files (folders: every *.yaml, *.yml, *.json below) and runs all of the above.
Manifests validate_files(const std::vector<std::string>& paths, const Schema& schema);

}  // namespace fairlead::api
