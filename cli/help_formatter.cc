#include "cli/help_formatter.h"

#include <CLI/CLI.hpp>

#include "base/text.h"

namespace fairlead::cli {
namespace {

class HelpFormatter final : public CLI::Formatter {
 public:
  HelpFormatter() {
    column_width(32);
    label("SUBCOMMAND", "COMMAND");
    label("OPTIONS", "FLAGS");
    label("Positionals", "Arguments");
  }

  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    std::string out = cat(app->get_description(), "\n\n");
    for (const std::string& part :
         {make_usage(app, std::move(name)), make_positionals(app), make_groups(app, mode),
          make_subcommands(app, mode), app->get_footer()}) {
      if (trim(part).empty()) continue;
      if (!out.ends_with("\n\n")) out += '\n';
      out += cat(without_empty_lines(part), '\n');
    }
    return out;
  }

  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override {
    if (group == "Options") group = "Flags";
    return CLI::Formatter::make_group(std::move(group), is_positional, std::move(options));
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string type = option->get_type_size() == 0 ? "" : option->get_type_name();
    return cat(type.empty() ? "" : " ", type, option->get_expected_max() > 1 ? " ..." : "");
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    // Of a flag that may stand alone it says what that means; Flags has written its default.
    const bool alone = option->get_expected_min() == 0;
    const std::string initial = alone ? "" : option->get_default_str();
    return cat(option->get_description(), initial.empty() ? "" : cat(" [", initial, ']'));
  }

 private:
  static std::string without_empty_lines(std::string_view part) {
    while (part.starts_with('\n')) part.remove_prefix(1);
    while (part.ends_with('\n')) part.remove_suffix(1);
    return std::string(part);
  }
};

}  // namespace

std::shared_ptr<CLI::FormatterBase> make_help_formatter() {
  return std::make_shared<HelpFormatter>();
}

}  // namespace fairlead::cli
