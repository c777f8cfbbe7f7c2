// One child process from start to end, with a time limit: iptables has no library that promises to
// stay. The caller waits; what blocks it is bounded.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace fairlead::dataplane::ipt {

struct ProcessEnd {
  int exit_code = 0;
  std::string errors;  // what it wrote to its standard error, at most 4 KiB
};

// The program is searched in PATH and runs in the calling thread's network namespace, with an
// environment of PATH and LC_ALL=C only. `output` gets its standard output piece by piece. Fails
// when it cannot be started, was killed, or runs longer than `limit`: then it is killed.
Result<ProcessEnd> run_process(const std::vector<std::string>& command, std::string_view input,
                               Duration limit, const std::function<void(std::string_view)>& output);

}  // namespace fairlead::dataplane::ipt
