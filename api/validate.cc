#include "api/validate.h"

#include "api/manifest_files.h"
#include "api/yaml.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

// One object of a document, and where it stands in it.
struct Item {
  const YamlDocument& document;
  const json::value& value;
  std::string path;  // "" or "items[3]"
  std::string_view file;
};

int line_of(const Item& item, std::string_view field) {
  if (field.empty()) return item.document.line_of(item.path);
  return item.document.line_of(item.path.empty() ? std::string(field) : cat(item.path, '.', field));
}

// As the codecs name objects, so that their messages and ours match.
std::string title(const json::value& value) {
  const std::string_view kind = find_string(value, "kind");
  const std::string_view ns = find_string(value, "metadata", "namespace");
  const std::string_view name = find_string(value, "metadata", "name");
  if (kind.empty() || name.empty()) return std::string(kind);
  const KindInfo* row = find_kind(find_string(value, "apiVersion"), kind);
  if (row != nullptr && !row->namespaced) return cat(kind, ' ', name);
  if (row != nullptr) return cat(kind, ' ', ns.empty() ? "default" : ns, '/', name);
  return ns.empty() ? cat(kind, ' ', name) : cat(kind, ' ', ns, '/', name);
}

void report(const Item& item, std::string_view field, std::string message, Manifests& into) {
  into.problems.push_back({.file = std::string(item.file),
                           .line = line_of(item, field),
                           .object = title(item.value),
                           .message = std::move(message)});
}

// decode() says "Service default/web: spec.type: ...": the object is told apart from the field.
// What the schema has said of that field already is enough.
void report_decode(const Item& item, const Error& error, const std::vector<FieldProblem>& known,
                   Manifests& into) {
  std::string_view message = error.message;
  const std::string nameless = cat(find_string(item.value, "kind"), " without a name");
  for (const std::string& object : {title(item.value), nameless}) {
    if (message.starts_with(cat(object, ": "))) message.remove_prefix(object.size() + 2);
  }
  const size_t colon = message.find(": ");
  const std::string_view field =
      colon == std::string_view::npos ? std::string_view() : message.substr(0, colon);
  const auto same = [&](const FieldProblem& one) { return one.path == field; };
  if (std::any_of(known.begin(), known.end(), same)) return;
  report(item, field, std::string(message), into);
}

void read_item(const Item& item, const Schema& schema, Manifests& into);

// kubectl writes "kind: List" for several objects; typed lists (ServiceList) do not occur in files.
void read_list(const Item& item, const Schema& schema, Manifests& into) {
  const json::value* items = find(item.value, "items");
  if (items == nullptr || !items->is_array()) {
    return report(item, "items", "items: expected a list", into);
  }
  const json::array& array = items->get_array();
  for (size_t i = 0; i < array.size(); ++i) {
    const std::string path = cat(item.path, item.path.empty() ? "" : ".", "items[", i, ']');
    read_item({item.document, array[i], path, item.file}, schema, into);
  }
}

void read_item(const Item& item, const Schema& schema, Manifests& into) {
  if (!item.value.is_object()) return report(item, "", "expected an object", into);
  const std::string_view version = find_string(item.value, "apiVersion");
  const std::string_view kind = find_string(item.value, "kind");
  for (const std::string_view field : {"apiVersion", "kind"}) {
    if (find_string(item.value, field).empty()) {
      return report(item, field, cat(field, ": missing"), into);
    }
  }
  if (version == "v1" && kind == "List") return read_list(item, schema, into);

  // An object with any problem is left out whole: a misspelt field is a field that does not do what
  // its author meant. kubectl refuses it too (fieldValidation=Strict).
  const auto problems = schema.check(version, kind, item.value);
  for (const FieldProblem& problem : problems) {
    report(item, problem.path, problem.to_string(), into);
  }
  if (find_kind(version, kind) == nullptr) {
    if (problems.empty()) ++into.other_kinds;
    return;
  }
  auto object = decode(item.value);
  if (!object) return report_decode(item, object.error(), problems, into);
  if (!problems.empty()) return;
  into.objects.push_back({*std::move(object), std::string(item.file), line_of(item, "")});
}

}  // namespace

std::string Problem::to_string() const {
  std::string out = file;
  if (line > 0) out += cat(':', line);
  if (warning) out += ": warning";
  if (!object.empty()) out += cat(": ", object);
  return cat(out, ": ", message);
}

bool Manifests::ok() const {
  return std::all_of(problems.begin(), problems.end(),
                     [](const Problem& problem) { return problem.warning; });
}

void read_manifests(std::string_view text, std::string_view file, const Schema& schema,
                    Manifests& into) {
  const auto documents = parse_yaml(text, file);
  if (!documents) {
    // "file:line: message"
    std::string_view message = documents.error().message;
    message.remove_prefix(std::min(file.size() + 1, message.size()));
    const size_t colon = message.find(": ");
    const auto line = parse_int(message.substr(0, colon), 1, INT32_MAX);
    if (line) message.remove_prefix(colon + 2);
    into.problems.push_back({.file = std::string(file),
                             .line = static_cast<int>(line.value_or(0)),
                             .object = "",
                             .message = std::string(trim(message))});
    return;
  }
  for (const YamlDocument& document : *documents) {
    read_item({document, document.value, "", file}, schema, into);
  }
}

Manifests validate_files(const std::vector<std::string>& paths, const Schema& schema) {
  Manifests all;
  for (const std::string& path : paths) {
    const auto files = manifest_files(path);
    if (!files) {
      all.problems.push_back({.file = path, .message = files.error().message});
      continue;
    }
    for (const std::string& file : *files) {
      if (const auto text = read_manifest_file(file)) {
        read_manifests(*text, file, schema, all);
      } else {
        all.problems.push_back({.file = file, .message = text.error().message});
      }
    }
  }
  const auto semantic = semantic_problems(all);
  all.problems.insert(all.problems.end(), semantic.begin(), semantic.end());
  return all;
}

}  // namespace fairlead::api
