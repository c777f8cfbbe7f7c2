// Makes the driver of a proxy mode. A new mode is one case in make_driver().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "dataplane/capability.h"
#include "dataplane/driver.h"
#include "dataplane/ebpf/driver.h"
#include "net/event_loop.h"

namespace fairlead::agent {

// What drivers are made of. Everything in it must outlive them.
struct DriverParts {
  const AgentConfig& config;
  net::EventLoop& loop;
  Log log;
  Registry& registry;
};

// Touches nothing in the kernel. Null: this program was built without the mode.
std::unique_ptr<dataplane::Driver> make_driver(dataplane::Mode mode, const DriverParts& parts);

// The mode to run, and why it was chosen; no mode for ProxyMode::none.
struct ChosenMode {
  std::optional<dataplane::Mode> mode;
  std::string why;
};
// `probe` is asked for ProxyMode::automatic only.
ChosenMode choose_mode(
    ProxyMode asked, const std::function<dataplane::EbpfSupport()>& probe = dataplane::probe_ebpf);

}  // namespace fairlead::agent
