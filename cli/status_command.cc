#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "agent/status.h"
#include "cli/agent_client.h"
#include "cli/commands.h"

namespace fairlead::cli {
namespace {

int run(const std::string& socket, const std::string& format) {
  const auto text = agent_body(socket, "GET", "/status", std::chrono::seconds(5));
  if (!text) return report_failure("status", text.error().message);
  const auto value = parse_json(*text);
  if (!value) return report_failure("status", value.error().message);
  const auto report = agent::from_json(*value);
  if (!report) return report_failure("status", report.error().message);
  if (format == "json") {
    std::puts(text->c_str());
  } else {
    std::fputs(agent::to_table(*report).c_str(), stdout);
  }
  return agent::is_ready(*report) ? 0 : 1;
}

}  // namespace

void add_status(CLI::App& app, Action& action) {
  struct Arguments {
    std::string socket, format;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command = app.add_subcommand("status", "what the agent of this machine is doing");
  add_agent_flags(*command, arguments->socket, &arguments->format);
  command->footer("Exit code: 0 ready, 1 not ready or not reachable.");
  command->callback(
      [=, &action] { action = [arguments] { return run(arguments->socket, arguments->format); }; });
}

}  // namespace fairlead::cli
