// Times as Kubernetes writes and shows them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace fairlead::controlplane {

// "45s", "2m30s", "5h", "3d4h", "2y10d": the coarser, the older (apimachinery
// pkg/util/duration HumanDuration).
std::string short_duration(int64_t seconds);

// Time since `timestamp`, "<unknown>" when it is absent or unreadable.
std::string age(std::string_view timestamp, WallTime now);

}  // namespace fairlead::controlplane
