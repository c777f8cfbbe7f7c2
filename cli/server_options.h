// What can be set on the control plane, as a table of options.
#pragma once

#include <string>
#include <vector>

#include "agent/option.h"
#include "controlplane/server.h"

namespace fairlead::cli {

struct PortRange {
  uint16_t low = 30000, high = 32767;
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

// "30000-32767"
Result<void> parse_setting(std::string_view text, PortRange& out);
std::string format_setting(const PortRange& value);

struct ServerFlags {
  std::string data_dir = "/var/lib/fairlead";
  SocketAddress listen{Ip::v4(0x7f000001), 6443};
  std::string unix_socket = "/run/fairlead/api.sock";
  std::vector<Cidr> service_cidrs{*Cidr::parse("10.96.0.0/12")};
  PortRange node_ports;
  std::string admin_kubeconfig = "/etc/fairlead/admin.kubeconfig";
  std::vector<std::string> sans;
  LogLevel log_level = LogLevel::info;
};

std::vector<agent::Option<ServerFlags>> server_options();
controlplane::Config to_config(const ServerFlags& flags);

}  // namespace fairlead::cli
