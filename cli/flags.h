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

// For CLI::Option::check(): what is wrong with the value, or "".
using CheckFlag = std::function<std::string(const std::string&)>;
CheckFlag one_of(std::vector<std::string> values);
CheckFlag not_empty(std::string expected);

template <class Config>
class Flags {
 public:
  explicit Flags(std::vector<agent::Option<Config>> rows) : rows_(std::move(rows)) {}

  // Applies a file of another form; false when it is not of that form.
  using OtherFile =
      std::function<Result<bool>(Config& config, std::string_view text, std::string_view file)>;
  void also_reads(OtherFile other) { other_file_ = std::move(other); }

  // Values land in this object: it must outlive the parsing. No `file_flag`: no such file.
  // A value that its row refuses is wrong usage, before anything runs.
  void add_to(CLI::App& app, const std::string& file_flag = "--config") {
    const Config defaults;
    file_flag_ = file_flag;
    if (!file_flag.empty()) {
      app.add_option(file_flag, file_, "YAML file with any of these settings, as 'name: value'")
          ->type_name("FILE")
          ->check(not_empty("a path"));
    }
    for (const auto& row : rows_) add_row(app, row, row.get(defaults));
  }

  // Errors are those of the file.
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
  void add_row(CLI::App& app, const agent::Option<Config>& row, const std::string& initial) {
    const std::string name(row.name);
    std::string& value = values_[name];
    auto* flag = app.add_option("--" + name, value,
                                initial.empty() ? row.help : cat(row.help, " [", initial, ']'));
    flag->type_name(std::string(row.value));
    flag->check([set = row.set](const std::string& text) {
      Config scratch;
      const auto done = set(scratch, text);
      return done ? std::string() : done.error().message;
    });
    if (row.value == agent::bool_value) {
      flag->expected(0, 1)->default_str("true");  // what the flag alone means
      app.add_flag_callback("--no-" + name, [&value] { value = "false"; })->group("");
    }
    given_[name] = flag;
  }

  std::vector<agent::Option<Config>> rows_;
  OtherFile other_file_;
  std::string file_flag_, file_;
  std::map<std::string, std::string> values_;
  std::map<std::string, CLI::Option*> given_;
};

}  // namespace fairlead::cli
