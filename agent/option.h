// Settings as a table: one row is a command-line flag, a key of the YAML configuration file, and a
// line of --help. A program's settings are a struct and a vector of rows that name its members.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/result.h"
#include "base/text.h"

namespace fairlead::agent {

// Text to value and back, for each type that a setting may have. Errors say what was expected.
Result<void> parse_setting(std::string_view text, std::string& out);
Result<void> parse_setting(std::string_view text, bool& out);
Result<void> parse_setting(std::string_view text, unsigned& out);
Result<void> parse_setting(std::string_view text, int& out);
Result<void> parse_setting(std::string_view text, uint16_t& out);
Result<void> parse_setting(std::string_view text, Duration& out);
Result<void> parse_setting(std::string_view text, LogLevel& out);
Result<void> parse_setting(std::string_view text, SocketAddress& out);
Result<void> parse_setting(std::string_view text, Ip& out);
Result<void> parse_setting(std::string_view text, Cidr& out);

std::string format_setting(const std::string& value);
std::string format_setting(bool value);
std::string format_setting(unsigned value);
std::string format_setting(int value);
std::string format_setting(uint16_t value);
std::string format_setting(Duration value);
std::string format_setting(LogLevel value);
std::string format_setting(const SocketAddress& value);
std::string format_setting(const Ip& value);
std::string format_setting(const Cidr& value);

// A list replaces the default: "a,b" is two elements, "" is none.
template <class T>
Result<void> parse_setting(std::string_view text, std::vector<T>& out) {
  std::vector<T> values;
  for (const std::string_view part : split(text, ',')) {
    if (trim(part).empty()) continue;
    T value{};
    FL_TRY_VOID(parse_setting(trim(part), value));
    values.push_back(std::move(value));
  }
  out = std::move(values);
  return {};
}

template <class T>
std::string format_setting(const std::vector<T>& values) {
  std::vector<std::string> parts;
  for (const T& value : values) parts.push_back(format_setting(value));
  return join(parts, ",");
}

// What --help calls a value that is true or false; such a flag alone means true.
inline constexpr std::string_view bool_value = "BOOL";

template <class Config>
struct Option {
  std::string_view name;   // "proxy-mode": the flag without dashes, and the key in the file
  std::string_view value;  // what --help calls the value; "" for a switch
  std::string help;
  std::function<Result<void>(Config&, std::string_view)> set;
  std::function<std::string(const Config&)> get;
};

template <class Config, class T>
Option<Config> option(std::string_view name, std::string_view value, std::string help,
                      T Config::* member) {
  return {name, value, std::move(help),
          [member](Config& config, std::string_view text) {
            return parse_setting(text, config.*member);
          },
          [member](const Config& config) { return format_setting(config.*member); }};
}

// The same row, for whole numbers of `low` to `high` only.
template <class Config>
Option<Config> within(int64_t low, int64_t high, Option<Config> row) {
  row.set = [low, high, set = std::move(row.set)](Config& config,
                                                  std::string_view text) -> Result<void> {
    if (parse_int(text, low, high)) return set(config, text);
    return fail(cat("'", text, "' is not a number of ", low, " to ", high));
  };
  return row;
}

// A key of a configuration file, with where it stands. A sequence is joined with commas.
struct FileSetting {
  std::string key;
  std::string value;
  int line = 0;
};

// A YAML mapping of scalars and sequences of scalars. Errors are "file:line: ...".
Result<std::vector<FileSetting>> read_settings(std::string_view text, std::string_view file);

std::string nearest_name(std::string_view word, const std::vector<std::string_view>& names);

// Applies a file to `config`. Unknown keys and ill-typed values are errors with file:line.
template <class Config>
Result<void> apply_file(Config& config, const std::vector<Option<Config>>& options,
                        std::string_view text, std::string_view file) {
  FL_TRY(const auto settings, read_settings(text, file));
  for (const FileSetting& setting : settings) {
    const Option<Config>* found = nullptr;
    std::vector<std::string_view> names;
    for (const auto& row : options) {
      names.push_back(row.name);
      if (row.name == setting.key) found = &row;
    }
    const std::string where = cat(file, ':', setting.line, ": ");
    if (found == nullptr) {
      return fail(cat(where, "unknown key '", setting.key, "'", nearest_name(setting.key, names)));
    }
    if (auto set = found->set(config, setting.value); !set) {
      return fail(cat(where, setting.key, ": ", set.error().message));
    }
  }
  return {};
}

}  // namespace fairlead::agent
