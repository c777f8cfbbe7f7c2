#include "cli/lab/state.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "api/json.h"
#include "base/text.h"

namespace fairlead::cli {
namespace {

std::string state_path(const std::string& directory, const std::string& name) {
  return cat(directory, '/', name, "/state.json");
}

// A whole number up to the largest T; 0 for anything else.
template <class T>
T number(const json::value& value, std::string_view key) {
  const auto* member = find(value, key);
  if (member == nullptr || !member->is_number()) return 0;
  json::error_code inexact;
  const T out = member->to_number<T>(inexact);
  return inexact ? T{} : out;
}

}  // namespace

std::string to_text(const LabState& state) {
  json::object processes;
  for (const auto& [name, process] : state.processes) {
    processes[name] = {{"pid", process.pid}, {"start", process.start_ticks}};
  }
  const LabOptions& o = state.options;
  return json::serialize(json::value{{"name", o.name},
                                     {"nodes", o.nodes},
                                     {"clients", o.clients},
                                     {"backends", o.backends},
                                     {"proxyMode", o.proxy_mode},
                                     {"apiPort", o.api_port},
                                     {"directory", o.directory},
                                     {"logLevel", o.log_level},
                                     {"corefile", o.corefile},
                                     {"processes", std::move(processes)}});
}

Result<LabState> parse_lab_state(std::string_view text) {
  FL_TRY(const auto value, parse_json(text));
  LabState state;
  LabOptions& o = state.options;
  o.name = find_string(value, "name");
  o.nodes = number<unsigned>(value, "nodes");
  o.clients = number<unsigned>(value, "clients");
  o.backends = number<unsigned>(value, "backends");
  o.proxy_mode = find_string(value, "proxyMode");
  o.api_port = number<uint16_t>(value, "apiPort");
  o.directory = find_string(value, "directory");
  o.log_level = find_string(value, "logLevel");
  o.corefile = find_string(value, "corefile");
  const auto* processes = find(value, "processes");
  if (o.name.empty() || processes == nullptr || !processes->is_object()) {
    return fail("not the state of a lab");
  }
  for (const auto& [name, process] : processes->get_object()) {
    state.processes[std::string(name)] = {number<int>(process, "pid"),
                                          number<uint64_t>(process, "start")};
  }
  return state;
}

Result<void> save(const LabState& state) {
  const std::string path = state_path(state.options.directory, state.options.name);
  const std::string next = path + ".new";
  {
    std::ofstream out(next, std::ios::binary | std::ios::trunc);
    out << to_text(state);
    if (!out.flush()) return fail(cat(next, ": ", std::strerror(errno)));
  }
  std::error_code error;
  std::filesystem::rename(next, path, error);
  if (error) return fail(cat(path, ": ", error.message()));
  return {};
}

Result<LabState> load_lab_state(const std::string& directory, const std::string& name) {
  const std::string path = state_path(directory, name);
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(cat("no lab named '", name, "' is up: run fairlead lab up"));
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  auto state = parse_lab_state(text);
  if (!state) return fail(path, state.error());
  return state;
}

}  // namespace fairlead::cli
