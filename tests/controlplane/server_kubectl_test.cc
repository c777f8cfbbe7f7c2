// Real kubectl against the server: every one that is found runs every script under kubectl/.
//
// A script's lines: "$ ARGS" runs kubectl through sh, "$! ARGS" must fail; "| TEXT" is a line of
// its standard input; "> TEXT" must be in its output, "< TEXT" must not; "# TEXT" is a comment.
// `kubectl edit` replaces "before" by "after".
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "controlplane/server.h"
#include "store_support.h"

namespace fairlead::controlplane {
namespace {

namespace fs = std::filesystem;

constexpr const char* kScripts = FAIRLEAD_SOURCE_DIR "/tests/controlplane/kubectl";
constexpr std::string_view kNames[] = {
    "kubectl",      "kubectl.1.20", "kubectl.1.27", "kubectl.1.28", "kubectl.1.29",
    "kubectl.1.30", "kubectl.1.31", "kubectl.1.32", "kubectl.1.33", "kubectl.1.34"};

// On PATH, beside whatever those are links to, and those that FAIRLEAD_KUBECTL lists.
std::vector<std::string> kubectls() {
  std::set<fs::path> folders, found;
  for (std::string_view folder : split(std::getenv("PATH") ? std::getenv("PATH") : "", ':'))
    folders.insert(fs::path(folder));
  if (const char* given = std::getenv("FAIRLEAD_KUBECTL"))
    for (std::string_view path : split(given, ':'))
      if (!path.empty()) found.insert(fs::path(path));
  std::error_code ignored;
  for (const fs::path& folder : std::set<fs::path>(folders))
    if (fs::path real = fs::canonical(folder / "kubectl", ignored); !real.empty())
      folders.insert(real.parent_path());
  for (const fs::path& folder : folders)
    for (std::string_view name : kNames) {
      fs::path path = fs::canonical(folder / name, ignored);
      if (!path.empty() && ::access(path.c_str(), X_OK) == 0) found.insert(path);
    }
  return {found.begin(), found.end()};
}

struct Step {
  int line = 0;
  std::string args, input;
  bool fails = false;
  std::vector<std::string> has, lacks;
};

std::vector<Step> read_script(const fs::path& path) {
  std::vector<Step> steps;
  std::ifstream in(path);
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    std::string_view text = line;
    if (text.starts_with("$"))
      steps.push_back(
          {number, line.substr(text.find(' ') + 1), "", text.starts_with("$!"), {}, {}});
    else if (text.starts_with("| "))
      steps.back().input += cat(text.substr(2), "\n");
    else if (text.starts_with("> "))
      steps.back().has.emplace_back(text.substr(2));
    else if (text.starts_with("< "))
      steps.back().lacks.emplace_back(text.substr(2));
  }
  return steps;
}

class ServerKubectlTest : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Found, ServerKubectlTest, testing::ValuesIn(kubectls()),
                         [](const auto& param) {
                           std::string name;
                           for (char c : param.param) name += std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ServerKubectlTest);

TEST(ServerKubectlTest, AtLeastOneKubectlIsInstalled) {
  EXPECT_FALSE(kubectls().empty()) << "install kubernetes-client, or name one in FAIRLEAD_KUBECTL";
}

TEST_P(ServerKubectlTest, RunsEveryScript) {
  TempDir dir;
  FdLogSink sink(2);
  Registry registry;
  Config config{.data_dir = dir / "data",
                .listen = {Ip::v4(0x7f000001), 0},
                .admin_kubeconfig = dir / "admin.conf"};
  Server server(config, Log(sink, LogLevel::warn), registry);
  Result<void> started = server.start();
  ASSERT_TRUE(started) << started.error().message;

  auto run = [&](const Step& step, std::string& output) {
    std::ofstream(dir / "input") << step.input;
    std::string command =
        cat("cd '", dir.path(), "' && { KUBECONFIG='", dir / "admin.conf", "' HOME='", dir.path(),
            "' EDITOR='sed -i s/before/after/' timeout 60 '", GetParam(), "' ", step.args,
            "; } <input 2>&1");
    FILE* pipe = ::popen(command.c_str(), "r");
    char buffer[4096];
    while (size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, got);
    return WEXITSTATUS(::pclose(pipe));
  };
  std::vector<fs::path> scripts;
  for (const auto& entry : fs::directory_iterator(kScripts)) scripts.push_back(entry.path());
  std::ranges::sort(scripts);
  for (const fs::path& script : scripts)
    for (const Step& step : read_script(script)) {
      SCOPED_TRACE(cat(script.filename().string(), ":", step.line, ": kubectl ", step.args));
      std::string output;
      int code = run(step, output);
      EXPECT_EQ(code != 0, step.fails) << output;
      for (const std::string& text : step.has) EXPECT_THAT(output, testing::HasSubstr(text));
      for (const std::string& text : step.lacks)
        EXPECT_THAT(output, testing::Not(testing::HasSubstr(text)));
    }
}

}  // namespace
}  // namespace fairlead::controlplane
