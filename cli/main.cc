#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "agent/option.h"
#include "cli/commands.h"

namespace {

constexpr const char* description =
    "The networking of a Kubernetes node in one program: service proxy, cluster DNS and\n"
    "ingress, with a control plane of its own for when there is no other.\n";

constexpr const char* examples =
    "\nExamples:\n"
    "  fairlead lab up                                  a cluster in network namespaces, to try\n"
    "  fairlead up                                      control plane and agent on this machine\n"
    "  fairlead agent --kubeconfig /etc/fairlead/conf   agent of a node of any cluster\n"
    "  fairlead agent --manifests ./manifests           no API server at all\n"
    "  fairlead explain service default/web             why it behaves as it does\n"
    "  fairlead validate examples/                      check manifests before applying them\n";

// "'agnet' is not a command: did you mean 'agent'?"; "" when the first word is one, or none. CLI11
// would only say that there is none.
std::string wrong_command(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return {};
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  const std::string word = argv[1];
  if (std::find(names.begin(), names.end(), word) != names.end()) return {};
  return fairlead::cat("'", word, "' is not a command",
                       fairlead::agent::nearest_name(word, {names.begin(), names.end()}));
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  CLI::App app{description, "fairlead"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "fairlead " + fairlead::cli::version());
  fairlead::cli::Action action;
  fairlead::cli::add_up(app, action);
  fairlead::cli::add_agent(app, action);
  fairlead::cli::add_server(app, action);
  fairlead::cli::add_lab(app, action);
  fairlead::cli::add_status(app, action);
  fairlead::cli::add_explain(app, action);
  fairlead::cli::add_verify(app, action);
  fairlead::cli::add_proxy_mode(app, action);
  fairlead::cli::add_validate(app, action);
  fairlead::cli::add_version(app, action);
  fairlead::cli::add_echo(app, action);
  app.footer(examples);  // now: commands have none, or one of their own
  if (const std::string wrong = wrong_command(app, argc, argv); !wrong.empty()) {
    std::fprintf(stderr, "%s\nRun with --help for more information.\n", wrong.c_str());
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return action();
}
