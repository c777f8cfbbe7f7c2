// Binds a table of settings (agent/option.h) to a subcommand: a flag per row, and --config FILE,
// whose keys are the same names. Flags win over the file. A program may read files of another
// form, too.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/option.h"
#include "base/file.h"

namespace fairlead::cli {

template <class Config>
class Flags {
 public:
  explicit Flags(std::vector<agent::Option<Config>> rows) : rows_(std::move(rows)) {}

  // Applies a file of another form; false when it is not of that form.
  using OtherFile =
      std::function<Result<bool>(Config& config, std::string_view text, std::string_view file)>;
  void also_reads(OtherFile other) { other_file_ = std::move(other); }

  // Values land in this object: it must outlive the parsing.
  void add_to(CLI::App& app, const std::string& file_flag = "--config") {
    const Config defaults;
    file_flag_ = file_flag;
    app.add_option(file_flag, file_, "YAML file with any of these settings, as 'name: value'")
        ->type_name("FILE");
    for (const auto& row : rows_) {
      std::string help = row.help;
      if (const std::string text = row.get(defaults); !text.empty()) help += cat(" [", text, ']');
      std::string& value = values_[std::string(row.name)];
      auto* flag = app.add_option(cat("--", row.name), value, help);
      flag->type_name(std::string(row.value));
      if (row.value == "BOOL") {
        app.add_flag_callback(cat("--no-", row.name), [&value] { value = "false"; })->group("");
      }
      given_[std::string(row.name)] = flag;
    }
  }

  Result<Config> read() const {
    Config config;
    if (!file_.empty()) {
      const auto text = read_file(file_);
      if (!text) return fail(file_flag_, text.error());
      bool done = false;
      if (other_file_) {
        FL_TRY(done, other_file_(config, *text, file_));
      }
      if (!done) FL_TRY_VOID(agent::apply_file(config, rows_, *text, file_));
    }
    for (const auto& row : rows_) {
      const std::string& text = values_.at(std::string(row.name));
      if (text.empty() && given_.at(std::string(row.name))->count() == 0) continue;
      if (auto set = row.set(config, text); !set) return fail(cat("--", row.name), set.error());
    }
    return config;
  }

 private:
  std::vector<agent::Option<Config>> rows_;
  OtherFile other_file_;
  std::string file_flag_, file_;
  std::map<std::string, std::string> values_;
  std::map<std::string, CLI::Option*> given_;
};

}  // namespace fairlead::cli
