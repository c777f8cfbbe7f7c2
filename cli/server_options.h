// What can be set on the control plane, as a table of options.
#pragma once

#include <string>
#include <vector>

#include "agent/option.h"
#include "controlplane/server.h"

namespace fairlead::cli {

struct ServerFlags {
  std::string data_dir = "/var/lib/fairlead";
  SocketAddress listen{Ip::v4(0x7f000001), 6443};
  std::string unix_socket = "/run/fairlead/api.sock";
  std::vector<Cidr> service_cidrs{*Cidr::parse("10.96.0.0/12")};
  std::string node_port_range = "30000-32767";
  std::string admin_kubeconfig = "/etc/fairlead/admin.kubeconfig";
  std::vector<std::string> sans;
  LogLevel log_level = LogLevel::info;
};

std::vector<agent::Option<ServerFlags>> server_options();
Result<controlplane::Config> to_config(const ServerFlags& flags);

}  // namespace fairlead::cli
