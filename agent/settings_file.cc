// The one file of this room that knows yaml-cpp.
#include <yaml-cpp/yaml.h>

#include "agent/option.h"
#include "api/yaml.h"

namespace fairlead::agent {
namespace {

constexpr api::YamlLimits limits{.max_bytes = 256 * 1024, .max_depth = 16, .max_nodes = 10'000};

int line_of(const YAML::Node& node) { return node.Mark().line + 1; }

Result<std::string> scalar_list(const YAML::Node& node, const std::string& where) {
  std::string joined;
  for (const YAML::Node& element : node) {
    if (!element.IsScalar()) return fail(cat(where, "a list may hold plain values only"));
    if (!joined.empty()) joined += ',';
    joined += element.Scalar();
  }
  return joined;
}

Result<std::vector<FileSetting>> read_mapping(const YAML::Node& root, std::string_view file) {
  std::vector<FileSetting> settings;
  if (!root.IsMap()) {
    return fail(cat(file, ':', line_of(root), ": expected lines of the form 'key: value'"));
  }
  if (root["kind"] && root["kind"].IsScalar() && root["apiVersion"]) {
    return fail(cat(file, ':', line_of(root), ": this is a ", root["kind"].Scalar(),
                    ": expected settings as 'key: value'"));
  }
  for (const auto& entry : root) {
    const int line = line_of(entry.first);
    FileSetting setting{entry.first.Scalar(), {}, line};
    const std::string where = cat(file, ':', line, ": ", setting.key, ": ");
    if (entry.second.IsSequence()) {
      FL_TRY(setting.value, scalar_list(entry.second, where));
    } else if (entry.second.IsScalar()) {
      setting.value = entry.second.Scalar();
    } else if (!entry.second.IsNull()) {
      return fail(cat(where, "expected a value or a list of values"));
    }
    settings.push_back(std::move(setting));
  }
  return settings;
}

}  // namespace

// yaml-cpp overlooks documents after the first and a quote that is never closed, and takes a key
// twice; api::parse_yaml() does not, but has no scalars as they were written.
Result<std::vector<FileSetting>> read_settings(std::string_view text, std::string_view file) {
  FL_TRY(const auto documents, api::parse_yaml(text, file, limits));
  if (documents.size() > 1) {
    return fail(cat(file, ':', documents[1].lines.line, ": one document is expected, not ",
                    documents.size()));
  }
  try {
    for (const YAML::Node& root : YAML::LoadAll(std::string(text))) {
      if (!root.IsNull()) return read_mapping(root, file);
    }
    return {};
  } catch (const YAML::Exception& error) {
    return fail(cat(file, ':', error.mark.line + 1, ": ", error.msg));
  }
}

}  // namespace fairlead::agent
