#include "cli/lab/plan.h"

#include <algorithm>

#include "agent/config.h"
#include "base/text.h"

namespace fairlead::cli {
namespace {

constexpr unsigned max_nodes = 50;
constexpr unsigned max_pods = 200;

Ip ip(const std::string& text) { return *Ip::parse(text); }

std::string_view op_name(LabStep::Op op) {
  constexpr std::string_view names[] = {"namespace", "veth", "bridge", "enslave",
                                        "address",   "up",   "route",  "sysctl"};
  return names[static_cast<size_t>(op)];
}

// Collects the steps of one namespace.
class Steps {
 public:
  void add(LabStep::Op op, std::string netns, std::vector<std::string> args = {}) {
    steps_.push_back({op, std::move(netns), std::move(args)});
  }
  void host(const std::string& netns) { add(LabStep::Op::add_namespace, netns); }
  // A fabric member: eth0 with both addresses.
  void join_fabric(const std::string& fabric, const std::string& netns, const std::string& port,
                   const Ip& v4, const Ip& v6) {
    host(netns);
    add(LabStep::Op::veth, fabric, {port, netns, "eth0"});
    add(LabStep::Op::enslave, fabric, {port, "fabric"});
    add(LabStep::Op::up, fabric, {port});
    add(LabStep::Op::address, netns, {"eth0", cat(v4.to_string(), "/24")});
    add(LabStep::Op::address, netns, {"eth0", cat(v6.to_string(), "/64")});
    add(LabStep::Op::up, netns, {"eth0"});
  }
  void attach_pod(const LabNode& node, const LabPod& pod) {
    const std::string device = cat("p-", pod.name);
    const std::string gateway = node.pods4.at(1).to_string();
    host(pod.netns);
    add(LabStep::Op::veth, node.netns, {device, pod.netns, "eth0"});
    add(LabStep::Op::address, node.netns, {device, cat(gateway, "/32")});
    add(LabStep::Op::address, node.netns, {device, "fe80::1/64"});
    add(LabStep::Op::up, node.netns, {device});
    add(LabStep::Op::route, node.netns, {cat(pod.v4.to_string(), "/32"), "", device});
    add(LabStep::Op::route, node.netns, {cat(pod.v6.to_string(), "/128"), "", device});
    add(LabStep::Op::address, pod.netns, {"eth0", cat(pod.v4.to_string(), "/32")});
    add(LabStep::Op::address, pod.netns, {"eth0", cat(pod.v6.to_string(), "/128")});
    add(LabStep::Op::up, pod.netns, {"eth0"});
    add(LabStep::Op::route, pod.netns, {cat(gateway, "/32"), "", "eth0"});
    add(LabStep::Op::route, pod.netns, {"0.0.0.0/0", gateway, "eth0"});
    add(LabStep::Op::route, pod.netns, {"::/0", "fe80::1", "eth0"});
  }
  std::vector<LabStep> take() { return std::move(steps_); }

 private:
  std::vector<LabStep> steps_;
};

Result<void> check(const LabOptions& options) {
  const bool label = !options.name.empty() && options.name.size() <= 20 &&
                     std::ranges::all_of(options.name, [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
                     });
  if (!label) {
    return fail(cat("lab name '", options.name, "': expected 1 to 20 of a-z and 0-9"));
  }
  agent::ProxyMode mode{};
  if (auto known = agent::parse_setting(options.proxy_mode, mode); !known) {
    return fail("--proxy-mode", known.error());
  }
  LogLevel level{};
  if (auto known = agent::parse_setting(options.log_level, level); !known) {
    return fail("--log-level", known.error());
  }
  if (options.nodes < 1 || options.nodes > max_nodes) {
    return fail(cat("--nodes ", options.nodes, ": expected 1 to ", max_nodes));
  }
  if (options.clients < 1 || options.clients > max_pods ||
      options.backends > max_pods - options.clients) {
    return fail(cat("--clients and --backends: expected at least 1 client and at most ", max_pods,
                    " pods"));
  }
  return {};
}

void add_pod(LabPlan& plan, std::string name, bool backend) {
  LabPod pod;
  pod.name = std::move(name);
  pod.netns = plan.prefix + pod.name;
  pod.backend = backend;
  // Clients on the first node, backends spread over all of them.
  const auto backends = std::ranges::count_if(plan.pods, [](const LabPod& p) { return p.backend; });
  pod.node = backend ? static_cast<size_t>(backends) % plan.nodes.size() : 0;
  const auto neighbours =
      std::ranges::count_if(plan.pods, [&](const LabPod& other) { return other.node == pod.node; });
  pod.v4 = plan.nodes[pod.node].pods4.at(2 + static_cast<uint64_t>(neighbours));
  pod.v6 = plan.nodes[pod.node].pods6.at(2 + static_cast<uint64_t>(neighbours));
  plan.pods.push_back(std::move(pod));
}

}  // namespace

std::string LabStep::to_string() const {
  return cat(netns, ": ", op_name(op), args.empty() ? "" : " ", join(args, " "));
}

std::string LabPlan::path(std::string_view file) const {
  return cat(options.directory, '/', options.name, '/', file);
}

const LabPod* LabPlan::pod(std::string_view name) const {
  const auto found = std::ranges::find(pods, name, &LabPod::name);
  return found == pods.end() ? nullptr : &*found;
}

const LabNode* LabPlan::node(std::string_view name) const {
  const auto found = std::ranges::find(nodes, name, &LabNode::name);
  return found == nodes.end() ? nullptr : &*found;
}

Result<LabPlan> plan_lab(const LabOptions& options) {
  FL_TRY_VOID(check(options));
  LabPlan plan;
  plan.options = options;
  plan.prefix = cat("fl-", options.name, "-");
  plan.fabric = plan.prefix + "fabric";
  plan.external = plan.prefix + "external";
  plan.external4 = ip("192.168.77.200");
  plan.external6 = ip("fd77::200");
  for (unsigned i = 1; i <= options.nodes; ++i) {
    LabNode node;
    node.name = cat("node", i);
    node.netns = plan.prefix + node.name;
    node.v4 = ip(cat("192.168.77.", 10 + i));
    node.v6 = ip(cat("fd77::", 10 + i));
    node.pods4 = *Cidr::parse(cat("10.244.", i, ".0/24"));
    node.pods6 = *Cidr::parse(cat("fd44:0:0:", i, "::/64"));
    plan.nodes.push_back(std::move(node));
  }
  for (unsigned i = 1; i <= options.clients; ++i) {
    add_pod(plan, i == 1 ? "client" : cat("client", i), false);
  }
  for (unsigned i = 1; i <= options.backends; ++i) add_pod(plan, cat("backend", i), true);
  return plan;
}

std::vector<LabStep> LabPlan::steps() const {
  using Op = LabStep::Op;
  Steps steps;
  steps.host(fabric);
  steps.add(Op::bridge, fabric, {"fabric"});
  steps.add(Op::up, fabric, {"fabric"});
  steps.join_fabric(fabric, external, "external", external4, external6);
  for (const LabNode& node : nodes) {
    steps.join_fabric(fabric, node.netns, node.name, node.v4, node.v6);
    steps.add(Op::sysctl, node.netns, {"net/ipv4/ip_forward", "1"});
    steps.add(Op::sysctl, node.netns, {"net/ipv6/conf/all/forwarding", "1"});
  }
  for (const LabNode& node : nodes) {
    for (const LabNode& other : nodes) {
      if (&other == &node) continue;
      steps.add(Op::route, node.netns, {other.pods4.to_string(), other.v4.to_string(), "eth0"});
      steps.add(Op::route, node.netns, {other.pods6.to_string(), other.v6.to_string(), "eth0"});
    }
  }
  for (const LabPod& pod : pods) steps.attach_pod(nodes[pod.node], pod);
  return steps.take();
}

}  // namespace fairlead::cli
