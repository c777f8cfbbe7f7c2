// The door between a lab and the machine it runs on: namespaces, cgroups, processes. The fake
// records what it was asked.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/lab/plan.h"

namespace fairlead::cli {

struct ProcessSpec {
  std::string name;               // "server", "node1", "backend2"
  std::string netns;              // "": the machine's own
  std::string cgroup;             // folder that it is put into; "": where the caller is
  std::vector<std::string> argv;  // argv[0] is a path
  std::string log;                // standard output and error are appended there

  friend bool operator==(const ProcessSpec&, const ProcessSpec&) = default;
};

// A process that may have ended and whose number may have been given away again: the start time
// tells (proc(5), /proc/PID/stat field 22).
struct ProcessId {
  int pid = 0;
  uint64_t start_ticks = 0;
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

class LabHost {
 public:
  virtual ~LabHost() = default;

  virtual Result<void> apply(const LabStep& step) = 0;
  virtual std::vector<std::string> namespaces(std::string_view prefix) = 0;
  virtual Result<void> remove_namespace(const std::string& name) = 0;  // after ending what is in it
  virtual Result<void> make_cgroup(const std::string& path) = 0;
  virtual Result<void> remove_cgroups(const std::string& path) = 0;  // with all below it
  virtual Result<ProcessId> spawn(const ProcessSpec& spec) = 0;
  virtual bool alive(const ProcessId& process) = 0;
  // Sends `signal`; with `wait_ms` waits for the end, then kills. No error if it has ended.
  virtual Result<void> end(const ProcessId& process, int signal, int wait_ms) = 0;
};

std::unique_ptr<LabHost> make_lab_host();

// The mount point of cgroup2, from /proc/mounts; "" when there is none.
std::string cgroup2_root();

class FakeLabHost final : public LabHost {
 public:
  Result<void> apply(const LabStep& step) override;
  std::vector<std::string> namespaces(std::string_view prefix) override;
  Result<void> remove_namespace(const std::string& name) override;
  Result<void> make_cgroup(const std::string& path) override;
  Result<void> remove_cgroups(const std::string& path) override;
  Result<ProcessId> spawn(const ProcessSpec& spec) override;
  bool alive(const ProcessId& process) override;
  Result<void> end(const ProcessId& process, int signal, int wait_ms) override;

  std::vector<std::string> calls;    // in order, as text
  std::string fail_at;               // a call whose text contains this fails
  std::string ends_at_once;          // the process of this name
  std::vector<std::string> present;  // namespaces that exist
  std::vector<int> running;          // pids

 private:
  Result<void> record(std::string call);
};

}  // namespace fairlead::cli
