#include "api/schema.h"

#include <tuple>

#include "api/data.h"
#include "api/schema_check.h"
#include "api/schema_parse.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr std::string_view table_name = "api-schema-1.32.json";
constexpr std::string_view kinds_key = "\"x-kubernetes-group-version-kind\":";

// One line of the index of kinds; some definitions (DeleteOptions) stand for many.
struct KindRow {
  std::string api_version;
  std::string kind;
  std::string_view definition;
};

// The kinds of a definition, without parsing the rest of it.
void add_kinds(std::string_view definition, std::string_view text, std::vector<KindRow>& into) {
  const size_t at = text.rfind(kinds_key);
  if (at == std::string_view::npos) return;
  const size_t begin = at + kinds_key.size();
  const size_t end = text.find(']', begin);
  const auto list = parse_json(text.substr(begin, end - begin + 1));
  if (!list || !list->is_array()) return;
  for (const json::value& entry : list->get_array()) {
    const std::string_view group = find_string(entry, "group");
    const std::string_view version = find_string(entry, "version");
    into.push_back({group.empty() ? std::string(version) : cat(group, '/', version),
                    std::string(find_string(entry, "kind")), definition});
  }
}

}  // namespace

struct Schema::Impl {
  std::map<std::string_view, std::string_view> texts;  // definition name -> its JSON
  std::vector<KindRow> kinds;                          // ordered by kind, api_version
  mutable std::map<std::string_view, std::unique_ptr<const TypeSchema>> parsed;

  const KindRow* find_kind(std::string_view api_version, std::string_view kind) const {
    const auto found = std::lower_bound(
        kinds.begin(), kinds.end(), std::pair(kind, api_version), [](const auto& row, auto key) {
          return std::pair<std::string_view, std::string_view>(row.kind, row.api_version) < key;
        });
    const bool same =
        found != kinds.end() && found->kind == kind && found->api_version == api_version;
    return same ? &*found : nullptr;
  }
};

std::string FieldProblem::to_string() const {
  if (what == What::unknown_field) return cat("unknown field \"", path, '"');
  return path.empty() ? problem : cat(path, ": ", problem);
}

Schema::Schema(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Schema::Schema(Schema&&) noexcept = default;
Schema& Schema::operator=(Schema&&) noexcept = default;
Schema::~Schema() = default;

// Finds where each definition begins and ends, and which kinds it is for. Nothing else is parsed:
// most programs need a handful of the definitions.
Result<Schema> Schema::load() {
  auto impl = std::make_unique<Impl>();
  for (const auto& [name, text] : top_level_members(data(table_name))) {
    impl->texts.emplace(name, text);
    add_kinds(name, text, impl->kinds);
  }
  if (impl->kinds.empty()) return fail(cat(table_name, ": the embedded table has no kinds"));
  std::sort(impl->kinds.begin(), impl->kinds.end(), [](const KindRow& a, const KindRow& b) {
    return std::tie(a.kind, a.api_version) < std::tie(b.kind, b.api_version);
  });
  return Schema(std::move(impl));
}

bool Schema::knows(std::string_view api_version, std::string_view kind) const {
  return impl_->find_kind(api_version, kind) != nullptr;
}

std::string_view Schema::definition_name(std::string_view api_version,
                                         std::string_view kind) const {
  const KindRow* row = impl_->find_kind(api_version, kind);
  return row == nullptr ? std::string_view() : row->definition;
}

const TypeSchema* Schema::definition(std::string_view name) const {
  const auto text = impl_->texts.find(name);
  if (text == impl_->texts.end()) return nullptr;
  auto& parsed = impl_->parsed[text->first];
  if (parsed == nullptr) {
    const auto value = parse_json(text->second);
    parsed =
        std::make_unique<const TypeSchema>(value ? parse_definition(name, *value) : TypeSchema{});
  }
  return parsed.get();
}

const TypeSchema* Schema::find(std::string_view api_version, std::string_view kind) const {
  return definition(definition_name(api_version, kind));
}

// The table has no chains of refs today; the loop costs nothing.
const TypeSchema& Schema::resolve(const TypeSchema& type) const {
  const TypeSchema* at = &type;
  while (!at->ref.empty()) {
    const TypeSchema* next = definition(at->ref);
    if (next == nullptr) return *at;
    at = next;
  }
  return *at;
}

const TypeSchema::Field* Schema::member(const TypeSchema& type, std::string_view name) const {
  const TypeSchema& object = resolve(type);
  const auto found =
      std::lower_bound(object.fields.begin(), object.fields.end(), name,
                       [](const auto& field, std::string_view key) { return field.name < key; });
  return found == object.fields.end() || found->name != name ? nullptr : &*found;
}

// A map has a value type in place of fields, and any name is a member of it.
const TypeSchema* Schema::field(const TypeSchema& type, std::string_view name) const {
  const TypeSchema& object = resolve(type);
  if (object.base == TypeSchema::Base::map) return &resolve(*object.items);
  const TypeSchema::Field* found = member(object, name);
  return found == nullptr ? nullptr : &resolve(found->type);
}

const TypeSchema* Schema::item(const TypeSchema& type) const {
  const TypeSchema& list = resolve(type);
  return list.items == nullptr ? nullptr : &resolve(*list.items);
}

std::string_view Schema::definition_text(std::string_view name) const {
  const auto found = impl_->texts.find(name);
  return found == impl_->texts.end() ? std::string_view() : found->second;
}

std::vector<std::string_view> Schema::definition_names() const {
  std::vector<std::string_view> names;
  for (const auto& [name, text] : impl_->texts) names.push_back(name);
  return names;
}

std::vector<FieldProblem> Schema::check(std::string_view api_version, std::string_view kind,
                                        const json::value& document, bool strict) const {
  const TypeSchema* type = find(api_version, kind);
  if (type == nullptr) {
    return {
        {FieldProblem::What::wrong_type, "kind",
         cat("no kind '", kind.substr(0, 80), "' in version '", api_version.substr(0, 80), "'")}};
  }
  return check_value(*this, *type, document, strict);
}

}  // namespace fairlead::api
