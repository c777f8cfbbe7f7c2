#include <algorithm>

#include "base/text.h"
#include "cli/lab/host.h"

namespace fairlead::cli {

Result<void> FakeLabHost::record(std::string call) {
  const bool fails = !fail_at.empty() && call.find(fail_at) != std::string::npos;
  calls.push_back(std::move(call));
  if (fails) return fail(cat("injected failure at '", fail_at, "'"));
  return {};
}

Result<void> FakeLabHost::apply(const LabStep& step) {
  if (step.op == LabStep::Op::add_namespace) {
    if (std::ranges::count(present, step.netns) > 0) return fail(cat(step.netns, ": exists"));
    present.push_back(step.netns);
  } else if (std::ranges::count(present, step.netns) == 0) {
    return fail(cat(step.netns, ": no such namespace"));
  }
  return record(step.to_string());
}

std::vector<std::string> FakeLabHost::namespaces(std::string_view prefix) {
  std::vector<std::string> names = present;
  std::erase_if(names, [&](const std::string& name) { return !name.starts_with(prefix); });
  return names;
}

Result<void> FakeLabHost::remove_namespace(const std::string& name) {
  std::erase(present, name);
  return record(cat(name, ": remove"));
}

Result<void> FakeLabHost::make_cgroup(const std::string& path) {
  return record(cat("cgroup ", path));
}

Result<void> FakeLabHost::remove_cgroups(const std::string& path) {
  return record(cat("remove cgroup ", path));
}

Result<ProcessId> FakeLabHost::spawn(const ProcessSpec& spec) {
  if (auto recorded = record(cat("spawn ", spec.name, " in ", spec.netns)); !recorded) {
    return std::unexpected(recorded.error());
  }
  const int pid = 1000 + static_cast<int>(calls.size());
  if (spec.name != ends_at_once) running.push_back(pid);
  return ProcessId{pid, 1};
}

bool FakeLabHost::alive(const ProcessId& process) {
  return std::ranges::find(running, process.pid) != running.end();
}

Result<void> FakeLabHost::end(const ProcessId& process, int signal, int) {
  std::erase(running, process.pid);
  return record(cat("end ", process.pid, " with ", signal));
}

}  // namespace fairlead::cli
