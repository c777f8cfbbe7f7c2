#include "dns/chain.h"

#include <array>

#include "base/text.h"
#include "dns/plugins/configure.h"

namespace fairlead::dns {
namespace {

constexpr std::array rows = std::to_array<PluginRow>({
    // Beside the queries: pages for probes.
    {"ready", configure_ready},
    {"health", configure_health},
    // Around the answer: they see every reply, in reverse order (log, errors, prometheus).
    {"prometheus", configure_prometheus},
    {"errors", configure_errors},
    {"log", configure_log, true},
    // The answer: the first that has one.
    {"kubernetes", configure_kubernetes},
    {"forward", configure_forward, true},
});

}  // namespace

std::span<const PluginRow> plugin_rows() { return rows; }

const PluginRow* find_plugin(std::string_view name) {
  for (const auto& row : rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::string plugin_names() {
  std::string out;
  for (const auto& row : rows) out += cat(out.empty() ? "" : ", ", row.name);
  return out;
}

}  // namespace fairlead::dns
