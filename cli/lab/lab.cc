#include "cli/lab/lab.h"

#include <signal.h>
#include <sys/mount.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/text.h"
#include "cli/api_client.h"
#include "cli/lab/objects.h"

namespace fairlead::cli {
namespace {

constexpr Duration ready_timeout = std::chrono::seconds(30);
constexpr Duration ready_poll = std::chrono::milliseconds(500);
constexpr size_t max_log_bytes = 64 * 1024 * 1024;
constexpr int end_wait_ms = 8000;

// No `forward`: a lab has no uplink, so names that are not the cluster's are refused at once.
constexpr std::string_view lab_corefile = R"(.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        ttl 5
    }
    prometheus :9153
}
)";

std::string cgroup_base(const std::string& root, const LabPlan& plan) {
  return cat(root, '/', plan.prefix.substr(0, plan.prefix.size() - 1));
}

std::string cgroup_of(const std::string& root, const LabPlan& plan, const LabNode& node,
                      std::string_view leaf) {
  return cat(cgroup_base(root, plan), '/', node.name, '/', leaf);
}

Result<void> write_text(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::trunc);
  out << text;
  if (!out.flush()) return fail(cat(path, ": ", std::strerror(errno)));
  return {};
}

std::string last_line(const std::string& path) {
  const auto text = read_file(path, max_log_bytes);
  if (!text) return text.error().message;
  const std::string_view lines = trim(*text);
  return std::string(lines.substr(lines.rfind('\n') + 1));
}

ApiClient api_client(const LabPlan& plan) {
  net::HttpTarget target;
  target.unix_path = plan.path("api.sock");
  return ApiClient(std::move(target));
}

Result<void> write_files(const LabPlan& plan) {
  std::error_code error;
  for (const char* folder : {"log", "data"}) {
    std::filesystem::create_directories(plan.path(folder), error);
    if (error) return fail(cat(plan.path(folder), ": ", error.message()));
  }
  for (const LabNode& node : plan.nodes) {
    std::filesystem::create_directories(plan.path(node.name + ".bpf"), error);
  }
  FL_TRY_VOID(write_text(plan.path("resolv.conf"),
                         cat("nameserver ", lab_dns_ip,
                             "\nsearch default.svc.cluster.local svc.cluster.local cluster.local\n"
                             "options ndots:5\n")));
  FL_TRY_VOID(write_text(plan.path("Corefile"), std::string(lab_corefile)));
  return write_text(plan.path("agent.kubeconfig"),
                    cat("apiVersion: v1\nkind: Config\ncurrent-context: lab\n"
                        "clusters:\n- name: lab\n  cluster: {server: \"unix://",
                        plan.path("api.sock"),
                        "\"}\n"
                        "users:\n- name: lab\n  user: {}\n"
                        "contexts:\n- name: lab\n  context: {cluster: lab, user: lab}\n"));
}

ProcessSpec server_process(const LabPlan& plan, const std::string& program) {
  return {"server",
          "",
          "",
          {program, "server", "--data-dir", plan.path("data"), "--listen",
           cat("127.0.0.1:", plan.options.api_port), "--unix-socket", plan.path("api.sock"),
           "--service-cidrs", std::string(lab_service_cidrs), "--admin-kubeconfig",
           plan.path("admin.kubeconfig"), "--log-level", plan.options.log_level},
          plan.path("log/server.log")};
}

ProcessSpec node_process(const LabPlan& plan, const LabNode& node, const std::string& program,
                         const std::string& root) {
  ProcessSpec spec{node.name,
                   node.netns,
                   cgroup_of(root, plan, node, "agent"),
                   {program,
                    "agent",
                    "--kubeconfig",
                    plan.path("agent.kubeconfig"),
                    "--node-name",
                    node.name,
                    "--proxy-mode",
                    plan.options.proxy_mode,
                    "--cgroup",
                    cat(cgroup_base(root, plan), '/', node.name),
                    "--bpffs",
                    plan.path(node.name + ".bpf"),
                    "--socket",
                    plan.path(node.name + ".sock"),
                    "--access-log",
                    plan.path(cat("log/", node.name, ".access.log")),
                    "--corefile",
                    plan.options.corefile.empty() ? plan.path("Corefile") : plan.options.corefile,
                    "--log-level",
                    plan.options.log_level},
                   plan.path(cat("log/", node.name, ".log"))};
  return spec;
}

ProcessSpec backend_process(const LabPlan& plan, const LabPod& pod, const std::string& program,
                            const std::string& root) {
  return {pod.name,
          pod.netns,
          cgroup_of(root, plan, plan.nodes[pod.node], pod.name),
          {program, "echo", "--name", pod.name, "--http", cat(":", echo_http_port), "--udp",
           cat(":", echo_udp_port)},
          plan.path(cat("log/", pod.name, ".log"))};
}

}  // namespace

std::vector<ProcessSpec> lab_processes(const LabPlan& plan, const std::string& program,
                                       const std::string& cgroup_root) {
  std::vector<ProcessSpec> specs{server_process(plan, program)};
  for (const LabPod& pod : plan.pods) {
    if (pod.backend) specs.push_back(backend_process(plan, pod, program, cgroup_root));
  }
  for (const LabNode& node : plan.nodes) {
    specs.push_back(node_process(plan, node, program, cgroup_root));
  }
  return specs;
}

Result<LabPlan> Lab::up(const LabOptions& options) {
  FL_TRY(const auto plan, plan_lab(options));
  const std::string folder = plan.path("");
  if (std::filesystem::exists(folder) || !host_.namespaces(plan.prefix).empty()) {
    progress_(cat("replacing the lab '", options.name, "' that is there"));
    FL_TRY_VOID(down(options.directory, options.name, true));
  }
  LabState state{options, {}};
  if (auto done = bring_up(plan, state); !done) {
    const Error cause = done.error();
    if (auto cleaned = down(options.directory, options.name, true); !cleaned) {
      return fail(cat(cause.message, "; and cleaning up: ", cleaned.error().message));
    }
    return std::unexpected(cause);
  }
  return plan;
}

Result<void> Lab::launch(LabState& state, const ProcessSpec& spec) {
  if (!spec.cgroup.empty()) FL_TRY_VOID(host_.make_cgroup(spec.cgroup));
  FL_TRY(state.processes[spec.name], host_.spawn(spec));
  return save(state);
}

Result<void> Lab::bring_up(const LabPlan& plan, LabState& state) {
  const std::string root = cgroup2_root();
  if (root.empty()) return fail("no cgroup2 mount: eBPF mode attaches to one");
  FL_TRY_VOID(write_files(plan));
  FL_TRY_VOID(save(state));
  progress_("network namespaces");
  for (const LabStep& step : plan.steps()) FL_TRY_VOID(host_.apply(step));
  for (const LabPod& pod : plan.pods) {
    FL_TRY_VOID(host_.make_cgroup(cgroup_of(root, plan, plan.nodes[pod.node], pod.name)));
  }
  for (const ProcessSpec& spec : lab_processes(plan, program_, root)) {
    progress_(cat("process ", spec.name));
    FL_TRY_VOID(launch(state, spec));
    if (spec.name == "server") {
      FL_TRY_VOID(wait_for(plan, spec.name, state.processes[spec.name]));
      progress_("objects");
      FL_TRY_VOID(register_objects(plan));
    }
  }
  for (const LabNode& node : plan.nodes) {
    FL_TRY_VOID(wait_for(plan, node.name, state.processes[node.name]));
  }
  return {};
}

Result<void> Lab::register_objects(const LabPlan& plan) {
  const ApiClient api = api_client(plan);
  const auto objects = lab_objects(plan);
  // Nodes and pods of an earlier run with other options.
  for (const api::Kind kind : {api::Kind::pod, api::Kind::node}) {
    FL_TRY(const auto present, api.list(api::info(kind), cat(lab_label, '=', plan.options.name)));
    for (const auto& object : present) {
      const auto same = [&](const json::value& wanted) {
        return find_string(wanted, "kind") == api::info(kind).name &&
               find_string(wanted, "metadata", "name") == find_string(object, "metadata", "name");
      };
      if (std::ranges::any_of(objects, same)) continue;
      FL_TRY_VOID(
          api.remove(api::info(kind), {std::string(find_string(object, "metadata", "namespace")),
                                       std::string(find_string(object, "metadata", "name"))}));
    }
  }
  for (const auto& object : objects) FL_TRY_VOID(api.apply(object));
  return {};
}

Result<void> Lab::wait_for(const LabPlan& plan, const std::string& process, const ProcessId& id) {
  net::HttpTarget target;
  target.unix_path = plan.path(process == "server" ? std::string("api.sock") : process + ".sock");
  const ApiClient client(std::move(target));
  const std::string log = plan.path(cat("log/", process, ".log"));
  const auto deadline = std::chrono::steady_clock::now() + ready_timeout;
  for (;;) {
    const auto ready = client.wait_ready(ready_poll);
    if (ready) return {};
    // Only a look at the process tells at once that nobody will answer any more.
    if (!host_.alive(id)) {
      return fail(cat(process, " has ended: ", last_line(log), "\nits log: ", log));
    }
    if (std::chrono::steady_clock::now() > deadline) {
      return fail(
          cat(process, " did not become ready: ", ready.error().message, "\nits log: ", log));
    }
  }
}

Result<void> Lab::down(const std::string& directory, const std::string& name, bool keep_data) {
  LabOptions options;
  options.name = name;
  options.directory = directory;
  FL_TRY(const auto plan, plan_lab(options));
  std::vector<std::string> errors;
  const auto keep_going = [&](const Result<void>& step) {
    if (!step) errors.push_back(step.error().message);
  };
  const auto state = load_lab_state(directory, name);
  if (state) {
    for (const auto& [process, id] : state->processes) keep_going(host_.end(id, SIGTERM, 0));
    for (const auto& [process, id] : state->processes) {
      keep_going(host_.end(id, SIGTERM, end_wait_ms));
    }
  }
  const std::string folder = plan.path("");
  std::error_code error;
  if (std::filesystem::exists(folder)) {
    // A mounted BPF file system holds pins: programs and maps end with it.
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      if (entry.path().extension() != ".bpf") continue;
      std::filesystem::remove_all(entry.path() / "fairlead", error);
      while (::umount2(entry.path().c_str(), MNT_DETACH) == 0) {
      }
    }
  }
  for (const auto& netns : host_.namespaces(plan.prefix)) {
    keep_going(host_.remove_namespace(netns));
  }
  if (const std::string root = cgroup2_root(); !root.empty()) {
    keep_going(host_.remove_cgroups(cgroup_base(root, plan)));
  }
  if (!keep_data) {
    std::filesystem::remove_all(folder, error);
    if (error) errors.push_back(cat(folder, ": ", error.message()));
    std::filesystem::remove(directory, error);  // when this was the last lab
  } else {
    std::filesystem::remove(plan.path("state.json"), error);
  }
  return errors.empty() ? Result<void>{} : fail(join(errors, "; "));
}

Result<void> Lab::stop(LabState state, const std::string& process, int signal) {
  const auto found = state.processes.find(process);
  if (found == state.processes.end()) {
    return fail(cat("the lab has no process '", process, "': see fairlead lab status"));
  }
  return host_.end(found->second, signal, end_wait_ms);
}

Result<void> Lab::start(LabState state, const std::string& process) {
  FL_TRY(const auto plan, plan_lab(state.options));
  for (const ProcessSpec& spec : lab_processes(plan, program_, cgroup2_root())) {
    if (spec.name != process) continue;
    if (host_.alive(state.processes[process])) return {};
    FL_TRY_VOID(launch(state, spec));
    const bool backend = plan.pod(process) != nullptr;
    return backend ? Result<void>{} : wait_for(plan, process, state.processes[process]);
  }
  return fail(cat("the lab has no process '", process, "': see fairlead lab status"));
}

}  // namespace fairlead::cli
