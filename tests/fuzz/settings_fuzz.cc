// A file of the agent's own settings: errors name the file, and what is accepted prints and parses
// again to the same.
#include <cstdint>
#include <string_view>

#include "agent/config.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::agent;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static const auto rows = agent_options();
  AgentConfig config;
  if (const auto done = apply_file(config, rows, text, "f"); !done) {
    CHECK(done.error().message.starts_with("f:"));
    return 0;
  }
  for (const auto& row : rows) {
    AgentConfig again;
    // A list of a file may hold text with commas, which a flag cuts.
    if (!row.set(again, row.get(config))) continue;
    const std::string once = row.get(again);
    CHECK(row.set(again, once));
    CHECK(row.get(again) == once);
  }
  return 0;
}
