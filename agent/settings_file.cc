// The one file of this room that knows yaml-cpp.
#include <yaml-cpp/yaml.h>

#include "agent/option.h"

namespace fairlead::agent {
namespace {

constexpr size_t max_file_bytes = 256 * 1024;

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
  if (root.IsNull()) return settings;
  if (!root.IsMap()) {
    return fail(cat(file, ':', line_of(root), ": expected lines of the form 'key: value'"));
  }
  if (root["kind"] && root["kind"].IsScalar() && root["apiVersion"]) {
    return fail(cat(file, ':', line_of(root), ": this is a ", root["kind"].Scalar(),
                    ": expected settings as 'key: value', or a KubeProxyConfiguration"));
  }
  for (const auto& entry : root) {
    const int line = line_of(entry.first);
    if (!entry.first.IsScalar()) {
      return fail(cat(file, ':', line, ": expected lines of the form 'key: value'"));
    }
    FileSetting setting{entry.first.Scalar(), {}, line};
    for (const FileSetting& other : settings) {
      if (other.key == setting.key) {
        return fail(cat(file, ':', line, ": key '", setting.key, "' stands on line ", other.line,
                        " already"));
      }
    }
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

Result<std::vector<FileSetting>> read_settings(std::string_view text, std::string_view file) {
  if (text.size() > max_file_bytes) {
    return fail(cat(file, ": larger than ", max_file_bytes, " bytes"));
  }
  try {
    return read_mapping(YAML::Load(std::string(text)), file);
  } catch (const YAML::Exception& error) {
    return fail(cat(file, ':', error.mark.line + 1, ": ", error.msg));
  }
}

}  // namespace fairlead::agent
