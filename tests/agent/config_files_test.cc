// Files for `--config`: our own settings and KubeProxyConfigurations, as tests/agent/*.txt. A case
// says which settings differ from the defaults, all of them, or what is wrong.
#include <gtest/gtest.h>

#include <thread>

#include "agent/kube_proxy_config.h"
#include "tests/text_cases.h"

namespace fairlead::agent {
namespace {

// "name: value" of what differs from the defaults, or the error; as `fairlead agent` reads a file.
std::string read(const std::string& text) {
  AgentConfig config;
  const auto other = apply_kube_proxy_config(config, text, "f");
  if (!other) return other.error().message + "\n";
  if (!*other) {
    const auto own = apply_file(config, agent_options(), text, "f");
    if (!own) return own.error().message + "\n";
  }
  std::string out;
  const AgentConfig defaults;
  for (const auto& row : agent_options()) {
    if (row.get(config) == row.get(defaults)) continue;
    out += cat(row.name, ": ", row.get(config), '\n');
  }
  return out;
}

// A machine with C cores sets so many entries.
std::string with_cores(std::string text) {
  for (size_t at; (at = text.find("$CORES*")) != std::string::npos;) {
    const size_t end = text.find_first_not_of("0123456789", at + 7);
    const int64_t each = parse_int(text.substr(at + 7, end - at - 7)).value_or(0);
    text.replace(at, end - at, cat(each * std::max(1u, std::thread::hardware_concurrency())));
  }
  return text;
}

class ConfigFiles : public testing::TestWithParam<TextCase> {};

TEST_P(ConfigFiles, SaysWhatIsSetOrWhatIsWrong) {
  const TextCase& test = GetParam();
  std::string text = test.sections.at("file");
  if (test.file.find("kube_proxy") != std::string::npos && !test.has("whole")) {
    text = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n" + text;
  }
  EXPECT_EQ(trim(read(text)), with_cores(test.text("want")));
}

INSTANTIATE_TEST_SUITE_P(Own, ConfigFiles, testing::ValuesIn(read_cases("agent/config_files.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);
INSTANTIATE_TEST_SUITE_P(KubeProxy, ConfigFiles,
                         testing::ValuesIn(read_cases("agent/kube_proxy_files.txt")),
                         case_name<testing::TestParamInfo<TextCase>>);

}  // namespace
}  // namespace fairlead::agent
