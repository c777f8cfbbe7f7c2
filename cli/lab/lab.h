// Starting, changing and removing a lab.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/lab/host.h"
#include "cli/lab/plan.h"
#include "cli/lab/state.h"

namespace fairlead::cli {

using Progress = std::function<void(std::string_view step)>;

// The processes that a plan needs, in starting order. `program` is this binary.
std::vector<ProcessSpec> lab_processes(const LabPlan& plan, const std::string& program,
                                       const std::string& cgroup_root);

class Lab {
 public:
  Lab(LabHost& host, std::string program, Progress progress)
      : host_(host), program_(std::move(program)), progress_(std::move(progress)) {}

  // Starts the lab, or changes a running (or crashed) one of the same name to these options. What
  // users have applied stays. Returns when everything is ready; a failure removes what was made.
  Result<LabPlan> up(const LabOptions& options);

  // Ends every process and removes namespaces, cgroups, mounts, pins and files, also those of a
  // lab whose state file is gone. `keep_data` leaves the control plane's store.
  Result<void> down(const std::string& directory, const std::string& name, bool keep_data = false);

  // One process by its name ("server", "node1", "backend2"): kill -9 or stop it, start it again.
  Result<void> stop(LabState state, const std::string& process, int signal);
  Result<void> start(LabState state, const std::string& process);

 private:
  Result<void> bring_up(const LabPlan& plan, LabState& state);
  Result<void> register_objects(const LabPlan& plan);
  Result<void> wait_for(const LabPlan& plan, const std::string& process, const ProcessId& id);
  Result<void> launch(LabState& state, const ProcessSpec& spec);

  LabHost& host_;
  std::string program_;
  Progress progress_;
};

// Replaces this process by `argv` inside a namespace of the lab: its network, its cgroup (so that
// eBPF mode sees its sockets) and, for pods, the cluster's resolv.conf. Returns only on failure.
Result<void> enter_lab(const LabPlan& plan, const std::string& where,
                       const std::vector<std::string>& argv);

// What to try, as commands that work as printed; `in` is how to run `lab in`, `fairlead` how to
// run this program.
std::string lab_hints(const LabPlan& plan, const std::string& in, const std::string& fairlead);

}  // namespace fairlead::cli
