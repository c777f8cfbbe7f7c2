#include <cstdio>

#include "agent/config.h"
#include "agent/status.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "net/http_client.h"

namespace fairlead::cli {
namespace {

Result<std::string> fetch_status(const std::string& socket) {
  net::HttpTarget target;
  target.unix_path = socket;
  net::HttpRequest request;
  request.target = "/status";
  const auto response = net::fetch(target, std::move(request), std::chrono::seconds(5));
  if (!response) {
    return fail(cat(response.error().message,
                    "\nIs the agent running? Its socket is set by "
                    "--socket, there and here."));
  }
  if (response->status != 200) return fail(cat(socket, ": answered ", response->status));
  return response->body;
}

int run(const std::string& socket, const std::string& format) {
  const auto text = fetch_status(socket);
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
    std::string socket = agent::AgentConfig{}.socket;
    std::string format = "table";
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command = app.add_subcommand("status", "what the agent of this machine is doing");
  command->add_option("--socket", arguments->socket, "the agent's unix socket")
      ->type_name("FILE")
      ->capture_default_str();
  command->add_option("-o,--output", arguments->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  command->footer("\nExit code: 0 ready, 1 not ready or not reachable.");
  command->callback(
      [=, &action] { action = [arguments] { return run(arguments->socket, arguments->format); }; });
}

}  // namespace fairlead::cli
