#include "agent/drivers.h"

#include "base/text.h"
#include "dataplane/iptables/driver.h"
#include "dataplane/ipvs/driver.h"
#include "dataplane/nftables/driver.h"
#include "dataplane/userspace/driver.h"

namespace fairlead::agent {

using dataplane::Mode;

namespace {

dataplane::UserspaceOptions userspace_options(const AgentConfig& config) {
  dataplane::UserspaceOptions options;
  options.max_captured = config.userspace_max_captured;
  options.limits.max_connections = config.userspace_max_connections;
  options.limits.max_udp_flows = config.userspace_max_udp_flows;
  options.limits.max_clients = config.userspace_max_clients;
  options.limits.connect_attempts = config.userspace_connect_attempts;
  options.limits.connect_timeout = config.userspace_connect_timeout;
  options.limits.udp_idle = config.userspace_udp_timeout;
  options.drain = config.userspace_drain;
  return options;
}

// The kernel counts whole seconds, and takes none for no change.
uint32_t whole_seconds(Duration time) {
  return static_cast<uint32_t>(std::chrono::ceil<std::chrono::seconds>(time).count());
}

dataplane::IpvsOptions ipvs_options(const AgentConfig& config) {
  dataplane::IpvsOptions options;
  options.scheduler = config.ipvs_scheduler;
  options.strict_arp = config.ipvs_strict_arp;
  options.masquerade_mark = config.masquerade_bit.mark();
  options.timeouts = {whole_seconds(config.ipvs_tcp_timeout),
                      whole_seconds(config.ipvs_tcp_fin_timeout),
                      whole_seconds(config.ipvs_udp_timeout)};
  return options;
}

}  // namespace

std::unique_ptr<dataplane::Driver> make_driver(Mode mode, const DriverParts& parts) {
  const Log log = parts.log.named(std::string(to_string(mode)));
  switch (mode) {
    case Mode::ebpf: {
      dataplane::EbpfOptions options;
      options.bpffs = parts.config.bpffs;
      options.cgroup = parts.config.cgroup;
      options.interfaces = parts.config.interfaces;
      options.tcx = parts.config.tcx;
      options.max_services = parts.config.max_services;
      options.max_backends = parts.config.max_backends;
      options.max_maglev = parts.config.max_maglev;
      options.max_conntrack = parts.config.max_conntrack;
      return dataplane::make_ebpf_driver(options, parts.loop, log, parts.registry);
    }
    case Mode::nftables: {
      dataplane::NftablesOptions options;
      options.masquerade_mark = parts.config.masquerade_bit.mark();
      options.drop_invalid = parts.config.nftables_drop_invalid;
      return dataplane::make_nftables_driver(options, log, parts.registry);
    }
    case Mode::iptables: {
      dataplane::IptablesOptions options;
      options.variant = parts.config.iptables_variant;
      options.masquerade_mark = parts.config.masquerade_bit.mark();
      options.tcp_be_liberal = parts.config.conntrack_tcp_be_liberal;
      return dataplane::make_iptables_driver(options, parts.loop, log, parts.registry);
    }
    case Mode::ipvs:
      return dataplane::make_ipvs_driver(ipvs_options(parts.config), parts.loop, log,
                                         parts.registry);
    case Mode::userspace:
      return dataplane::make_userspace_driver(userspace_options(parts.config), log, parts.registry);
  }
  return nullptr;
}

ChosenMode choose_mode(ProxyMode asked, const std::function<dataplane::EbpfSupport()>& probe) {
  if (asked == ProxyMode::none) return {std::nullopt, "switched off"};
  if (asked != ProxyMode::automatic) return {fixed_mode(asked), "as configured"};
  const dataplane::EbpfSupport support = probe();
  const std::string notes = join(support.notes, "; ");
  const bool hooks = support.connect && support.sendmsg && support.recvmsg && support.tc;
  if (hooks && can_serve(support)) {
    return {Mode::ebpf, notes.empty() ? "the kernel has what eBPF mode needs" : notes};
  }
  return {Mode::nftables, cat("this kernel lacks what eBPF mode needs: ", notes)};
}

}  // namespace fairlead::agent
