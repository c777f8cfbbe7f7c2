#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "agent/kube_proxy_config.h"
#include "agent/option.h"
#include "cli/help_formatter.h"

namespace fairlead::cli {
namespace {

constexpr const char* description =
    "The networking of a Kubernetes node in one program: service proxy, cluster DNS and\n"
    "ingress, with a control plane of its own for when there is no other.";

constexpr const char* examples =
    "Examples:\n"
    "  fairlead lab up                                  a cluster in network namespaces, to try\n"
    "  fairlead up                                      control plane and agent on this machine\n"
    "  fairlead agent --kubeconfig /etc/fairlead/conf   agent of a node of any cluster\n"
    "  fairlead agent --manifests ./manifests           no API server at all\n"
    "  fairlead explain service default/web             why it behaves as it does\n"
    "  fairlead validate examples/                      check manifests before applying them\n"
    "\n"
    "fairlead help COMMAND says more about each.";

// The innermost command that was named.
const CLI::App& named_command(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return *at;
}

std::string whole_name(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr ? command.get_name() : cat(whole_name(*parent), ' ', command.get_name());
}

// "--socket", "--output", ...: of the command, and of those above it that it passes words to.
std::vector<std::string> flags_of(const CLI::App& command) {
  std::vector<std::string> flags;
  for (const CLI::App* at = &command; at != nullptr; at = at->get_parent()) {
    for (const CLI::Option* option : at->get_options()) {
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    }
    if (!at->get_fallthrough()) break;
  }
  return flags;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& names) {
  return agent::nearest_name(word, {names.begin(), names.end()});
}

std::string wrong_flag(const CLI::App& command, std::string_view word) {
  const std::string_view flag = word.substr(0, word.find('='));
  std::string meant = command.get_name() == "agent" ? agent::kube_proxy_flag(flag) : "";
  if (meant.empty()) meant = suggestion(flag, flags_of(command));
  return cat("there is no flag '", flag, "'", meant);
}

// What CLI11 would say is which of its rules was broken; a reader wants to know which word it was.
std::string wrong_usage(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = named_command(app);
  std::vector<std::string> names;
  for (const CLI::App* below : command.get_subcommands({})) names.push_back(below->get_name());
  const bool extras = !command.get_allow_extras();
  for (const std::string& word : app.remaining(true)) {
    if (extras && word.size() > 1 && word.front() == '-') return wrong_flag(command, word);
    if (extras && names.empty()) return cat("'", word, "' is a word too many");
    if (!names.empty()) {
      const std::string meant = suggestion(word, names);
      return cat("'", word, "' is not a command",
                 meant.empty() ? cat(": ", join(names, ", "), " are") : meant);
    }
  }
  if (!names.empty()) return cat("name a command: ", join(names, ", "));
  const std::string what = error.what();
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) == nullptr) return what;
  return cat(what.substr(0, what.find(':')),
             what.ends_with("missing") ? ": a value is missing" : ": may be given once");
}

// Help was asked for on something that is not there.
bool help_on_nothing(const CLI::App& app) {
  const auto words = app.remaining(true);
  return !named_command(app).get_subcommands({}).empty() && !words.empty() &&
         words.front().front() != '-';
}

int parse_and_run(CLI::App& app, std::vector<std::string> words, const Action& action) {
  if (words.empty()) {
    std::fputs(app.help().c_str(), stderr);
    return 2;
  }
  // `help explain service` is `explain service --help`.
  if (words.front() == "help") {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  std::reverse(words.begin(), words.end());  // as CLI11 takes a vector
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0 && !help_on_nothing(app)) return app.exit(error);
    const std::string name = whole_name(named_command(app));
    const std::string why = wrong_usage(app, error);
    std::fprintf(stderr, "%s: %s\nRun '%s --help' for more.\n", name.c_str(), why.c_str(),
                 name.c_str());
    return 2;
  }
  return action();
}

}  // namespace

std::unique_ptr<CLI::App> make_command_line(Action& action) {
  auto app = std::make_unique<CLI::App>(description, "fairlead");
  app->formatter(make_help_formatter());  // first: commands take it over as they are added
  app->require_subcommand(1);
  app->set_help_flag("-h,--help", "print this help");
  app->set_version_flag("--version", "fairlead " + version(), "print the version");
  add_up(*app, action);
  add_agent(*app, action);
  add_server(*app, action);
  add_lab(*app, action);
  add_status(*app, action);
  add_explain(*app, action);
  add_verify(*app, action);
  add_proxy_mode(*app, action);
  add_validate(*app, action);
  add_version(*app, action);
  add_echo(*app, action);
  app->footer(examples);  // now: commands have none, or one of their own
  return app;
}

int run_command_line(int argc, const char* const* argv) {
  Action action;
  const auto app = make_command_line(action);
  return parse_and_run(*app, {argv + std::min(argc, 1), argv + argc}, action);
}

}  // namespace fairlead::cli
