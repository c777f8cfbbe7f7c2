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

Result<void> write_sysctl(const std::string& proc, const Sysctl& sysctl, std::string_view setting) {
  std::string path = sysctl.name;
  std::replace(path.begin(), path.end(), '.', '/');
  const auto done = write_file(cat(proc, "/sys/", path), sysctl.value);
  if (!done) return fail(setting, done.error());
  return {};
}

}  // namespace

Result<void> apply_host_settings(const AgentConfig& config, const std::string& proc) {
  for (const Sysctl& sysctl : config.sysctls) {
    FL_TRY_VOID(write_sysctl(proc, sysctl, cat("--sysctls ", sysctl.name)));
  }
  if (config.conntrack_tcp_be_liberal) {
    FL_TRY_VOID(write_sysctl(proc, {"net.netfilter.nf_conntrack_tcp_be_liberal", "1"},
                             "--conntrack-tcp-be-liberal"));
  }
  if (config.oom_score_adj == 0) return {};
  if (auto done = write_file(proc + "/self/oom_score_adj", cat(config.oom_score_adj)); !done) {
    return fail("--oom-score-adj", done.error());
  }
  return {};
}

}  // namespace fairlead::agent
