#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "agent/agent.h"
#include "agent/kube_proxy_config.h"
#include "agent/node_facts.h"
#include "cli/api_client.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/server_options.h"
#include "cli/signals.h"
#include "controlplane/server.h"

namespace fairlead::cli {
namespace {

// The first address of each family that others can reach this machine by.
std::vector<Ip> machine_ips() {
  std::vector<Ip> ips;
  for (const Ip& ip : agent::read_host_addresses()) {
    const bool known =
        std::ranges::any_of(ips, [&](const Ip& one) { return one.is_v4() == ip.is_v4(); });
    if (!known) ips.push_back(ip);
  }
  return ips;
}

json::value node_object(const std::string& name, const std::vector<Ip>& ips) {
  json::array addresses{{{"type", "Hostname"}, {"address", name}}};
  for (const Ip& ip : ips) {
    addresses.push_back({{"type", "InternalIP"}, {"address", ip.to_string()}});
  }
  const std::string cores = cat(std::max(std::thread::hardware_concurrency(), 1u));
  return {{"apiVersion", "v1"},
          {"kind", "Node"},
          {"metadata", {{"name", name}, {"labels", {{"kubernetes.io/hostname", name}}}}},
          {"status",
           {{"addresses", std::move(addresses)},
            {"capacity", {{"cpu", cores}}},
            {"allocatable", {{"cpu", cores}}},
            {"conditions", json::array{{{"type", "Ready"}, {"status", "True"}}}}}}};
}

Result<void> register_node(const std::string& socket, const std::string& name) {
  net::HttpTarget target;
  target.unix_path = socket;
  const ApiClient api(std::move(target));
  FL_TRY_VOID(api.wait_ready(std::chrono::seconds(20)));
  return api.apply(node_object(name, machine_ips()));
}

Result<void> write_kubeconfig(const std::string& path, const std::string& socket) {
  std::ofstream out(path, std::ios::trunc);
  out << cat("apiVersion: v1\nkind: Config\ncurrent-context: local\n",
             "clusters:\n- name: local\n  cluster: {server: \"unix://", socket, "\"}\n",
             "users:\n- name: local\n  user: {}\n",
             "contexts:\n- name: local\n  context: {cluster: local, user: local}\n");
  if (!out.flush()) return fail(cat(path, ": cannot be written"));
  return {};
}

int run(const Flags<ServerFlags>& server_flags, const Flags<agent::AgentConfig>& agent_flags) {
  const auto read = server_flags.read();
  if (!read) return report_failure("up", read.error().message);
  auto agent_config = agent_flags.read();
  if (!agent_config) return report_failure("up", agent_config.error().message);
  if (read->unix_socket.empty()) {
    return report_wrong_usage("up", "--unix-socket: the agent needs it, it cannot be empty");
  }
  StopSignals signals;
  FdLogSink sink(2);
  const Log log(sink, read->log_level);
  Registry registry;
  controlplane::Server server(to_config(*read), log, registry);
  if (auto started = server.start(); !started) {
    return report_failure("up", started.error().message);
  }
  agent_config->node_name = agent::node_name(agent_config->node_name);
  agent_config->kubeconfig = cat(read->data_dir, "/agent.kubeconfig");
  for (const auto& step : {register_node(read->unix_socket, agent_config->node_name),
                           write_kubeconfig(agent_config->kubeconfig, read->unix_socket)}) {
    if (!step) return report_failure("up", step.error().message);
  }
  agent::Agent agent(*agent_config, version(), log);
  if (auto started = agent.start(); !started) {
    return report_failure("up", started.error().message);
  }
  log.info("control plane and agent are up", {{"kubeconfig", read->admin_kubeconfig}});
  const net::Watch stopping = signals.watch(agent.loop(), [&] { agent.stop(); });
  agent.run();
  return 0;
}

}  // namespace

void add_up(CLI::App& app, Action& action) {
  // The two tables share one subcommand; the log level and the file of settings are the server's.
  auto agent_rows = agent::agent_options();
  std::erase_if(agent_rows, [](const auto& row) {
    return row.name == "log-level" || row.name == "kubeconfig" || row.name == "manifests";
  });
  auto server_flags = std::make_shared<Flags<ServerFlags>>(server_options());
  auto agent_flags = std::make_shared<Flags<agent::AgentConfig>>(std::move(agent_rows));
  agent_flags->also_reads(agent::apply_kube_proxy_config);
  auto* command =
      app.add_subcommand("up", "control plane and agent of this machine, in one process");
  server_flags->add_to(*command, "--server-config");
  agent_flags->add_to(*command, "--agent-config");
  command->footer("To try fairlead without touching this machine's network: fairlead lab up.");
  command->callback([=, &action] { action = [=] { return run(*server_flags, *agent_flags); }; });
}

}  // namespace fairlead::cli
