#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/lab/lab.h"

namespace fairlead::cli {
namespace {

struct Arguments {
  LabOptions options;
  std::string in_command;
  std::string where, process;
  bool hard = false;
  std::vector<std::string> argv;
};

std::string own_path() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

Lab make_lab(LabHost& host) {
  return Lab(host, own_path(), [](std::string_view step) {
    std::fprintf(stderr, "lab: %.*s\n", static_cast<int>(step.size()), step.data());
  });
}

int finish(const Result<void>& done) {
  return done ? 0 : report_failure("lab", done.error().message);
}

std::vector<agent::Option<LabOptions>> lab_options() {
  using agent::option;
  using O = LabOptions;
  return {
      option("nodes", "N", "nodes, each with an agent", &O::nodes),
      option("clients", "N", "client pods", &O::clients),
      option("backends", "N", "demo backend pods", &O::backends),
      option("proxy-mode", "MODE", "of the agents: auto, ebpf, nftables, iptables, ...",
             &O::proxy_mode),
      option("api-port", "PORT", "port of the API server on 127.0.0.1", &O::api_port),
      option("corefile", "FILE", "DNS configuration of the agents (empty: one without uplink)",
             &O::corefile),
      option("log-level", "LEVEL", "of every process: debug, info, warn or error", &O::log_level),
  };
}

int up(const Arguments& arguments, const Flags<LabOptions>& flags) {
  auto options = flags.read();
  if (!options) return report_failure("lab up", options.error().message);
  options->name = arguments.options.name;
  options->directory = arguments.options.directory;
  if (const auto plan = plan_lab(*options); !plan) {
    return report_wrong_usage("lab up", plan.error().message);
  }
  if (geteuid() != 0) {
    return report_failure("lab", "network namespaces and eBPF need root: run it as root");
  }
  const auto host = make_lab_host();
  const auto plan = make_lab(*host).up(*options);
  if (!plan) return report_failure("lab", plan.error().message);
  std::string in = arguments.in_command;
  if (in.empty()) {
    in = cat(own_path(), " lab in");
    if (arguments.options.name != "lab") in += cat(" --name ", arguments.options.name);
  }
  std::fputs(lab_hints(*plan, in, own_path()).c_str(), stdout);
  return 0;
}

int inside(const Arguments& arguments) {
  const auto state = load_lab_state(arguments.options.directory, arguments.options.name);
  if (!state) return report_failure("lab", state.error().message);
  const auto plan = plan_lab(state->options);
  if (!plan) return report_failure("lab", plan.error().message);
  return finish(enter_lab(*plan, arguments.where, arguments.argv));
}

int status(const Arguments& arguments) {
  const auto state = load_lab_state(arguments.options.directory, arguments.options.name);
  if (!state) return report_failure("lab", state.error().message);
  const auto host = make_lab_host();
  bool all = true;
  std::printf("%-12s %-10s %s\n", "PROCESS", "STATE", "PID");
  for (const auto& [name, process] : state->processes) {
    const bool alive = host->alive(process);
    all = all && alive;
    std::printf("%-12s %-10s %d\n", name.c_str(), alive ? "running" : "ended", process.pid);
  }
  return all ? 0 : 1;
}

// `change` gets a lab and its state.
int with_state(const Arguments& arguments,
               const std::function<Result<void>(Lab&, const LabState&)>& change) {
  const auto state = load_lab_state(arguments.options.directory, arguments.options.name);
  if (!state) return report_failure("lab", state.error().message);
  const auto host = make_lab_host();
  Lab lab = make_lab(*host);
  return finish(change(lab, *state));
}

void add_up_command(CLI::App& lab, const std::shared_ptr<Arguments>& arguments, Action& action) {
  auto flags = std::make_shared<Flags<LabOptions>>(lab_options());
  auto* command = lab.add_subcommand("up", "start a lab, or change a running one to these flags");
  flags->add_to(*command, "");
  command->add_option("--in-command", arguments->in_command, "how hints spell 'lab in'")->group("");
  command->callback([=, &action] { action = [=] { return up(*arguments, *flags); }; });
}

void add_process_commands(CLI::App& lab, const std::shared_ptr<Arguments>& arguments,
                          Action& action) {
  auto* stop = lab.add_subcommand("stop", "stop one process of the lab");
  stop->add_option("process", arguments->process, "server, node1, backend2, ...")
      ->type_name("")
      ->required();
  stop->add_flag("-9,--kill", arguments->hard, "kill it, so that it cannot tidy up");
  stop->callback([=, &action] {
    action = [=] {
      return with_state(*arguments, [&](Lab& l, const LabState& state) {
        return l.stop(state, arguments->process, arguments->hard ? SIGKILL : SIGTERM);
      });
    };
  });
  auto* start = lab.add_subcommand("start", "start a stopped process again");
  start->add_option("process", arguments->process, "server, node1, backend2, ...")
      ->type_name("")
      ->required();
  start->callback([=, &action] {
    action = [=] {
      return with_state(*arguments, [&](Lab& l, const LabState& state) {
        return l.start(state, arguments->process);
      });
    };
  });
}

}  // namespace

void add_lab(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  auto* lab = app.add_subcommand("lab", "a whole cluster in network namespaces, without uplink");
  lab->require_subcommand(1);
  lab->fallthrough();
  lab->add_option("--name", arguments->options.name, "for more than one lab at a time")
      ->type_name("NAME")
      ->capture_default_str();
  lab->add_option("--directory", arguments->options.directory, "where sockets and logs go")
      ->type_name("DIR")
      ->capture_default_str();
  add_up_command(*lab, arguments, action);
  add_process_commands(*lab, arguments, action);

  auto* down = lab->add_subcommand("down", "end the lab and remove every trace of it");
  down->callback([=, &action] {
    action = [=] {
      const auto host = make_lab_host();
      return finish(make_lab(*host).down(arguments->options.directory, arguments->options.name));
    };
  });
  auto* in = lab->add_subcommand("in", "run a command in a namespace: lab in client curl ...");
  // All that follows the place belongs to the command, dashes included. Options before it are its
  // own, because falling through to the parent's would look for the command there, too.
  in->prefix_command();
  in->allow_extras();
  in->fallthrough(false);
  in->add_option("--name", arguments->options.name, "of the lab")->type_name("NAME");
  in->add_option("--directory", arguments->options.directory, "of the labs")->type_name("DIR");
  in->footer(
      "Usage: fairlead lab in PLACE COMMAND [ARGUMENT...]\nPlaces: client, external, node1, "
      "backend1, ...");
  in->callback([=, &action] {
    arguments->argv = in->remaining();
    if (arguments->argv.size() < 2) {
      throw CLI::ValidationError("name a place and a command: lab in client curl ...");
    }
    arguments->where = arguments->argv.front();
    arguments->argv.erase(arguments->argv.begin());
    action = [=] { return inside(*arguments); };
  });
  auto* show = lab->add_subcommand("status", "the lab's processes");
  show->callback([=, &action] { action = [=] { return status(*arguments); }; });
}

}  // namespace fairlead::cli
