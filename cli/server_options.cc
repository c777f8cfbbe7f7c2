#include "cli/server_options.h"

namespace fairlead::cli {

Result<void> parse_setting(std::string_view text, PortRange& out) {
  const auto bounds = split(text, '-');
  const auto low = parse_int(bounds.front(), 1, 65535);
  const auto high = parse_int(bounds.back(), 1, 65535);
  if (bounds.size() != 2 || !low || !high || *low > *high) {
    return fail(cat("'", text, "' is not a range of ports such as 30000-32767"));
  }
  out = {static_cast<uint16_t>(*low), static_cast<uint16_t>(*high)};
  return {};
}

std::string format_setting(const PortRange& value) { return cat(value.low, '-', value.high); }

std::vector<agent::Option<ServerFlags>> server_options() {
  using agent::option;
  using F = ServerFlags;
  return {
      option("data-dir", "DIR", "where objects and keys are kept", &F::data_dir),
      option("listen", "ADDR", "address of the API server (TLS)", &F::listen),
      option("unix-socket", "FILE", "API without TLS for root on this machine (empty: none)",
             &F::unix_socket),
      option("service-cidrs", "CIDRS", "ClusterIP range: IPv4, IPv6 or one of each",
             &F::service_cidrs),
      option("node-port-range", "LOW-HIGH", "NodePort range", &F::node_ports),
      option("admin-kubeconfig", "FILE", "written at start, for kubectl (empty: none)",
             &F::admin_kubeconfig),
      option("sans", "NAMES", "more names or addresses of the server certificate", &F::sans),
      option("log-level", "LEVEL", "debug, info, warn or error", &F::log_level),
  };
}

controlplane::Config to_config(const ServerFlags& flags) {
  controlplane::Config config;
  config.data_dir = flags.data_dir;
  config.listen = flags.listen;
  config.unix_socket = flags.unix_socket;
  config.service_cidrs = flags.service_cidrs;
  config.node_port_low = flags.node_ports.low;
  config.node_port_high = flags.node_ports.high;
  config.admin_kubeconfig = flags.admin_kubeconfig;
  config.extra_sans = flags.sans;
  return config;
}

}  // namespace fairlead::cli
