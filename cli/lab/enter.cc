#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "cli/lab/lab.h"
#include "cli/lab/objects.h"
#include "net/netns.h"

namespace fairlead::cli {
namespace {

struct Place {
  std::string netns;
  std::string cgroup;  // below the lab's own cgroup; "" for places outside the cluster
  bool pod = false;
};

Result<Place> find_place(const LabPlan& plan, const std::string& where) {
  if (where == "external") return Place{plan.external, "", false};
  if (const LabNode* node = plan.node(where)) return Place{node->netns, node->name + "/shell"};
  if (const LabPod* pod = plan.pod(where)) {
    return Place{pod->netns, cat(plan.nodes[pod->node].name, '/', pod->name), true};
  }
  std::vector<std::string> names{"external"};
  for (const auto& node : plan.nodes) names.push_back(node.name);
  for (const auto& pod : plan.pods) names.push_back(pod.name);
  return fail(cat("no place '", where, "' in the lab: ", join(names, ", ")));
}

Result<void> join_cgroup(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  std::ofstream procs(path + "/cgroup.procs");
  procs << getpid();
  if (!procs.flush()) return fail(cat(path, ": cannot enter the cgroup"));
  return {};
}

// The cluster's resolv.conf over the machine's, in a mount namespace of this process alone.
Result<void> use_resolv_conf(const std::string& path) {
  if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return fail(cat("mount namespace: ", std::strerror(errno)));
  }
  // Often a link into a service's folder: bind over what it leads to.
  std::error_code error;
  const auto target = std::filesystem::canonical("/etc/resolv.conf", error);
  if (error) return fail(cat("/etc/resolv.conf: ", error.message()));
  if (mount(path.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return fail(cat("binding ", path, " over ", target.string(), ": ", std::strerror(errno)));
  }
  return {};
}

}  // namespace

Result<void> enter_lab(const LabPlan& plan, const std::string& where,
                       const std::vector<std::string>& argv) {
  FL_TRY(const Place place, find_place(plan, where));
  FL_TRY(const auto netns, net::Netns::open(place.netns));
  if (!place.cgroup.empty()) {
    const std::string base = plan.prefix.substr(0, plan.prefix.size() - 1);
    FL_TRY_VOID(join_cgroup(cat(cgroup2_root(), '/', base, '/', place.cgroup)));
  }
  if (setns(netns.fd(), CLONE_NEWNET) != 0) return fail(cat("setns: ", std::strerror(errno)));
  if (place.pod) FL_TRY_VOID(use_resolv_conf(plan.path("resolv.conf")));
  std::vector<char*> words;
  for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execvp(words[0], words.data());
  return fail(cat(argv[0], ": ", std::strerror(errno)));
}

std::string lab_hints(const LabPlan& plan, const std::string& in, const std::string& fairlead) {
  const std::string kubectl = cat("kubectl --kubeconfig ", plan.path("admin.kubeconfig"), ' ');
  const std::string node = plan.nodes[0].v4.to_string();
  return cat("\nThe lab is up. Try:\n\n  ", kubectl, "get svc,endpointslices,ingress -A\n\n  ", in,
             " client curl -s http://demo.default.svc.cluster.local/   # by DNS name\n  ", in,
             " client curl -s http://$(", kubectl,
             "get svc demo -o jsonpath='{.spec.clusterIP}')/   # by ClusterIP\n  ", in,
             " client curl -s http://", node, ":", demo_node_port, "/   # by NodePort\n  ", in,
             " external curl -s http://", node, ":", demo_node_port,
             "/   # by NodePort, from outside the cluster\n  ", in,
             " external curl -s -H 'Host: demo.example.test' http://", node,
             "/   # through the ingress\n  ", in,
             " client dig +noall +answer demo.default.svc.cluster.local\n\n  ", fairlead,
             " status --socket ", plan.path(plan.nodes[0].name + ".sock"), "\n\nLogs are in ",
             plan.path("log"), ".\n");
}

}  // namespace fairlead::cli
