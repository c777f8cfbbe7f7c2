#include "agent/process_metrics.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/text.h"

namespace fairlead::agent {
namespace {

void write(std::string& out, std::string_view name, std::string_view type, std::string_view help,
           const std::string& value) {
  out +=
      cat("# HELP ", name, ' ', help, "\n# TYPE ", name, ' ', type, '\n', name, ' ', value, '\n');
}

// "12.34" of 1234 clock ticks at 100 a second.
std::string seconds(int64_t ticks, int64_t whole = 0) {
  const int64_t per_second = sysconf(_SC_CLK_TCK);
  char text[48];
  std::snprintf(text, sizeof text, "%lld.%02lld",
                static_cast<long long>(whole + ticks / per_second),
                static_cast<long long>(ticks % per_second * 100 / per_second));
  return text;
}

// The fields of /proc/PID/stat from the third on: the second is a name that may hold spaces.
std::vector<int64_t> stat_fields(const std::string& proc) {
  const auto text = read_file(proc + "/self/stat");
  if (!text) return {};
  const size_t name_end = text->rfind(')');
  if (name_end == text->npos) return {};
  std::vector<int64_t> fields;
  for (const auto word : split(trim(text->substr(name_end + 1)), ' ')) {
    fields.push_back(parse_int(word).value_or(0));
  }
  return fields;
}

// The first number of the line that begins with `name`.
std::optional<int64_t> number_of(const std::string& path, std::string_view name) {
  const auto text = read_file(path);
  if (!text) return std::nullopt;
  for (const auto line : split(*text, '\n')) {
    if (!line.starts_with(name)) continue;
    for (const auto word : split(line.substr(name.size()), ' ')) {
      if (!word.empty()) return parse_int(word);
    }
  }
  return std::nullopt;
}

}  // namespace

std::string process_metrics(const std::string& proc) {
  std::string out;
  constexpr size_t third = 3;  // stat_fields() begins there; proc(5) counts from 1
  const auto stat = stat_fields(proc);
  if (stat.size() > 24 - third) {
    write(out, "process_cpu_seconds_total", "counter", "Processor time used",
          seconds(stat[14 - third] + stat[15 - third]));
    write(out, "process_virtual_memory_bytes", "gauge", "Address space", cat(stat[23 - third]));
    write(out, "process_resident_memory_bytes", "gauge", "Memory in use",
          cat(stat[24 - third] * sysconf(_SC_PAGESIZE)));
    if (const auto boot = number_of(proc + "/stat", "btime")) {
      write(out, "process_start_time_seconds", "gauge", "When it started, since 1970",
            seconds(stat[22 - third], *boot));
    }
  }
  std::error_code error;
  std::filesystem::directory_iterator files(proc + "/self/fd", error);
  if (!error) {
    write(out, "process_open_fds", "gauge", "Open files",
          cat(std::distance(begin(files), end(files))));
  }
  if (const auto most = number_of(proc + "/self/limits", "Max open files")) {
    write(out, "process_max_fds", "gauge", "Files that may be open", cat(*most));
  }
  return out;
}

}  // namespace fairlead::agent
