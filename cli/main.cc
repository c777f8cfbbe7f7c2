#include <signal.h>

#include <CLI/CLI.hpp>

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

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  CLI::App app{description, "fairlead"};
  app.footer(examples);
  app.require_subcommand(1);
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return action();
}
