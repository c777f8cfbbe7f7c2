// What `lab up` leaves for the next command: a file with the options and the processes.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "cli/lab/host.h"
#include "cli/lab/plan.h"

namespace fairlead::cli {

struct LabState {
  LabOptions options;
  std::map<std::string, ProcessId> processes;  // by ProcessSpec::name
};

std::string to_text(const LabState& state);
Result<LabState> parse_lab_state(std::string_view text);

// In `directory`/`name`/state.json; written whole or not at all (rename(2)).
Result<void> save(const LabState& state);
Result<LabState> load_lab_state(const std::string& directory, const std::string& name);

}  // namespace fairlead::cli
