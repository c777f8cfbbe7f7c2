#include "dns/plugins/configure.h"
#include "dns/plugins/log/format.h"

namespace fairlead::dns {
namespace {

Result<void> set_classes(const Directive& directive, const Directive::Line& line,
                         LogConfig& config) {
  if (line.words[0] != "class") return unknown_option(directive, line, "class");
  if (line.words.size() < 2) {
    return fail_in(directive, "option 'class' needs some of success, denial, error, all",
                   line.line);
  }
  config.success = config.denial = config.error = false;
  for (size_t i = 1; i < line.words.size(); ++i) {
    const std::string& word = line.words[i];
    const bool all = word == "all";
    if (!all && word != "success" && word != "denial" && word != "error") {
      return fail_in(directive,
                     cat("unknown class '", word, "', expected success, denial, error or all"),
                     line.line);
    }
    config.success |= all || word == "success";
    config.denial |= all || word == "denial";
    config.error |= all || word == "error";
  }
  return {};
}

}  // namespace

Result<void> configure_log(const Directive& directive, ServerBlock& block) {
  LogConfig config{.at = directive.at, .zone = ".", .format = std::string(log_format_common)};
  std::vector<std::string> names = directive.words;
  // The last of several words, or one that has a variable in it, is the format.
  if (!names.empty() && names.back().find('{') != std::string::npos) {
    config.format = names.back();
    if (config.format == "{common}") config.format = log_format_common;
    if (config.format == "{combined}") config.format = log_format_combined;
    names.pop_back();
  }
  if (const auto unknown = unknown_log_variable(config.format)) {
    return fail_in(directive, cat("unknown variable '", *unknown, "' in the format, expected ",
                                  log_variable_names()));
  }
  for (const auto& line : directive.body) FL_TRY_VOID(set_classes(directive, line, config));
  FL_TRY(auto zones, zone_words(directive, names, 0));
  if (zones.empty()) zones.push_back(".");
  for (auto& zone : zones) {
    config.zone = std::move(zone);
    block.logs.push_back(config);
  }
  return {};
}

}  // namespace fairlead::dns
