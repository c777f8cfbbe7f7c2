#include "bench/dataplane/contender.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "bench/dataplane/must.h"
#include "bench/dataplane/peer_rules.h"
#include "dataplane/ebpf/cgroup_links.h"
#include "dataplane/ebpf/driver.h"
#include "dataplane/iptables/driver.h"
#include "dataplane/ipvs/driver.h"
#include "dataplane/nftables/driver.h"
#include "dataplane/userspace/driver.h"

namespace fairlead::bench {

using dataplane::FrontendKind;

dataplane::ServiceTable connection_table(uint32_t services) {
  dataplane::ServiceTable table;
  table.node = {"node", {node_port.ip}, {*Cidr::parse("10.1.0.0/24")}};
  for (uint32_t i = 0; i < services; ++i) {
    dataplane::PortRule rule;
    rule.port_name = "http";
    rule.frontends = {{FrontendKind::cluster_ip, last_cluster_ip(i + 1).ip, 80}};
    rule.backends = {{backend.ip, backend.port, true}};
    auto& ports = table.services[{"default", cat("s", i)}].ports;
    ports = {rule};
    if (i + 1 != services) continue;
    ports[0].frontends.push_back({FrontendKind::node_port, Ip::v4(0), node_port.port});
    rule.port_name = "udp";
    rule.protocol = Protocol::udp;
    ports.push_back(rule);
  }
  return table;
}

SocketAddress last_cluster_ip(uint32_t services) { return {Ip::v4(0x0a600000 + services - 1), 80}; }

std::vector<std::string> contenders_here(const std::vector<std::string>& names) {
  const char* chosen = ::getenv("CONTENDERS");
  std::vector<std::string> out;
  for (const std::string& name : names) {
    const auto wanted = split(chosen ? chosen : "", ',');
    if (chosen && name != "direct" && std::ranges::count(wanted, name) == 0) continue;
    const bool ipvs = name.ends_with("ipvs"), legacy = name.ends_with("legacy");
    if (ipvs && ::access("/proc/net/ip_vs", F_OK) != 0) continue;
    if (legacy && ::system("iptables-legacy -V >/dev/null 2>&1") != 0) continue;
    out.push_back(name);
  }
  return out;
}

Contender::Contender(std::string name) : name_(std::move(name)) {
  if (!name_.starts_with("ebpf")) return;
  char path[] = "/tmp/fairlead-bench-XXXXXX";
  CHECK(::mkdtemp(path) != nullptr);
  folder_ = path;
  static int number = 0;
  cgroup_ =
      cat(must(dataplane::ebpf::cgroup2_root()), "/fairlead-bench-", ::getpid(), "-", ++number);
  CHECK(::mkdir(cgroup_.c_str(), 0755) == 0);
}

Contender::~Contender() {
  driver_.reset();
  if (folder_.empty()) return;
  ::umount2(folder_.c_str(), MNT_DETACH);
  ::rmdir(folder_.c_str());
  ::rmdir(cgroup_.c_str());
}

std::string Contender::client_cgroup() const { return name_ == "ebpf_tc" ? "" : cgroup_; }

std::unique_ptr<dataplane::Driver> Contender::make_driver() {
  if (!loop_) loop_ = std::make_unique<net::EventLoop>();
  if (!folder_.empty()) {
    dataplane::EbpfOptions options{.bpffs = folder_, .cgroup = cgroup_};
    options.tcx = name_ != "ebpf_clsact";
    options.attach_tc = name_ != "ebpf_sockets";
    return dataplane::make_ebpf_driver(options, *loop_, log_, registry_);
  }
  if (name_ == "nftables") return dataplane::make_nftables_driver({}, log_, registry_);
  if (name_ == "userspace") return dataplane::make_userspace_driver({}, log_, registry_);
  if (name_ == "ipvs") return dataplane::make_ipvs_driver({}, *loop_, log_, registry_);
  CHECK(name_.starts_with("iptables_"));
  dataplane::IptablesOptions options;
  options.variant = name_ == "iptables_nft" ? dataplane::IptablesVariant::nft
                                            : dataplane::IptablesVariant::legacy;
  return dataplane::make_iptables_driver(options, *loop_, log_, registry_);
}

dataplane::Driver& Contender::open() {
  driver_.reset();
  driver_ = make_driver();
  must(driver_->start());
  return *driver_;
}

void Contender::serve(const dataplane::ServiceTable& table) {
  if (name_ == "direct") return;
  if (name_.starts_with("peer_")) return load_peer_rules(name_.substr(5), table);
  const dataplane::ApplyReport report = open().apply(table, {}, true);
  for (const std::string& error : report.errors) {
    fprintf(stderr, "bench: %s: %s\n", name_.c_str(), error.c_str());
  }
  CHECK(report.ok());
}

void Contender::stop() {
  if (driver_) must(driver_->cleanup());
  driver_.reset();
}

uint64_t Contender::bytes_sent() {
  if (name_ == "nftables") {
    return registry_.counter("fairlead_nftables_command_bytes_total", "").value();
  }
  if (name_.starts_with("iptables_")) {
    return registry_.counter("fairlead_iptables_restore_bytes_total", "").value();
  }
  return 0;
}

}  // namespace fairlead::bench
