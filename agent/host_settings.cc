#include "agent/host_settings.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace fairlead::agent {
namespace {

Result<void> write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text << '\n';
  if (!out.flush()) return fail(cat(path, ": cannot be written: ", std::strerror(errno)));
  return {};
}

}  // namespace

Result<void> apply_host_settings(const AgentConfig& config, const std::string& proc) {
  for (const Sysctl& sysctl : config.sysctls) {
    std::string path = sysctl.name;
    std::replace(path.begin(), path.end(), '.', '/');
    if (auto done = write_file(cat(proc, "/sys/", path), sysctl.value); !done) {
      return fail(cat("--sysctls ", sysctl.name), done.error());
    }
  }
  if (config.oom_score_adj == 0) return {};
  if (auto done = write_file(proc + "/self/oom_score_adj", cat(config.oom_score_adj)); !done) {
    return fail("--oom-score-adj", done.error());
  }
  return {};
}

}  // namespace fairlead::agent
