// The subcommands of `fairlead`. Each adds itself to the command line; main() runs the one that
// was asked for and exits with its code: 0, 1 for a failure, 2 for wrong usage.
#pragma once

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace fairlead::cli {

// Set by the chosen subcommand; run after parsing.
using Action = std::function<int()>;

void add_agent(CLI::App& app, Action& action);
void add_server(CLI::App& app, Action& action);
void add_up(CLI::App& app, Action& action);
void add_lab(CLI::App& app, Action& action);
void add_echo(CLI::App& app, Action& action);
void add_status(CLI::App& app, Action& action);
void add_explain(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_proxy_mode(CLI::App& app, Action& action);
void add_validate(CLI::App& app, Action& action);
void add_version(CLI::App& app, Action& action);

std::string version();

// "fairlead agent: message" on standard error; returns 1.
int report_failure(const std::string& command, const std::string& message);
// The same, and where to read on; returns 2.
int report_wrong_usage(const std::string& command, const std::string& message);

}  // namespace fairlead::cli
