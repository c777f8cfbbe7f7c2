// What the agent sets on its machine and its process before it starts: only what it was told to.
#pragma once

#include "agent/config.h"

namespace fairlead::agent {

// Writes --sysctls and --oom-score-adj below `proc`. The error names the setting.
Result<void> apply_host_settings(const AgentConfig& config, const std::string& proc = "/proc");

}  // namespace fairlead::agent
