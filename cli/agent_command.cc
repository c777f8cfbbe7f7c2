#include "agent/agent.h"
#include "agent/kube_proxy_config.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/signals.h"

namespace fairlead::cli {
namespace {

int run(const Flags<agent::AgentConfig>& flags) {
  const auto config = flags.read();
  if (!config) return report_failure("agent", config.error().message);
  StopSignals signals;
  FdLogSink sink(2);
  const Log log(sink, config->log_level);
  agent::Agent agent(*config, version(), log);
  if (auto started = agent.start(); !started) {
    return report_failure("agent", started.error().message);
  }
  const net::Watch stopping = signals.watch(agent.loop(), [&] { agent.stop(); });
  agent.run();
  log.info("stopping; kernel state stays for the next start");
  return 0;
}

}  // namespace

void add_agent(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags<agent::AgentConfig>>(agent::agent_options());
  flags->also_reads(agent::apply_kube_proxy_config);
  auto* command =
      app.add_subcommand("agent", "serve this node: Services, cluster DNS, Ingress (the main job)");
  flags->add_to(*command);
  command->footer(
      "State comes from --manifests, else --kubeconfig, else the pod's own service "
      "account.\n--config also takes a KubeProxyConfiguration.\nStopping the agent leaves the "
      "kernel state: connections go on.");
  command->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace fairlead::cli
