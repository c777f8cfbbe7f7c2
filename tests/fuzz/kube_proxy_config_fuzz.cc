// A KubeProxyConfiguration: whatever is accepted gives settings that print and parse again, and
// every error names the file.
#include <cstdint>
#include <string_view>

#include "agent/kube_proxy_config.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::agent;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  AgentConfig config;
  const auto done = apply_kube_proxy_config(config, text, "f");
  if (!done) {
    CHECK(done.error().message.starts_with("f:"));
    return 0;
  }
  if (!*done) return 0;
  for (const auto& row : agent_options()) {
    AgentConfig again;
    // Text of a file may hold what a flag could not: names with commas, empty values.
    if (const auto set = row.set(again, row.get(config)); set) {
      CHECK(row.get(again) == row.get(config));
    }
  }
  return 0;
}
