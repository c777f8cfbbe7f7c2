// What the kernel counts for this process, under the names that Prometheus clients have for it, so
// that dashboards made for kube-proxy show memory and processor time here, too.
#pragma once

#include <string>

namespace fairlead::agent {

// process_* in the Prometheus text format, from files below `proc` (proc(5)). What cannot be read
// is left out.
std::string process_metrics(const std::string& proc = "/proc");

}  // namespace fairlead::agent
