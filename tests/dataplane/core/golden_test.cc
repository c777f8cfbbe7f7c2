// Every tests/golden/*.txt: objects and node facts in; the table, what each driver makes of it in
// the kernel, and the fate of some flows out: those of them that the file has a section for.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/map_dump.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/service_sync.h"
#include "dataplane/flow.h"
#include "dataplane/iptables/driver.h"
#include "dataplane/iptables/fake_runner.h"
#include "dataplane/ipvs/driver.h"
#include "dataplane/ipvs/fake_host.h"
#include "dataplane/ipvs/fake_table.h"
#include "dataplane/nftables/driver.h"
#include "dataplane/nftables/fake_runner.h"
#include "dataplane/userspace/driver.h"
#include "dataplane/userspace/fake_kernel.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/core/golden_file.h"

namespace fairlead::dataplane {
namespace {

Result<ServiceTable> compile_file(const GoldenFile& file) {
  FL_TRY(const NodeConfig node, parse_node(file.section("node")));
  api::SnapshotBuilder builder;
  FL_TRY_VOID(put_yaml(builder, file.section("objects")));
  return compile(*builder.take().snapshot, node);
}

// "10.1.0.5 -> 10.96.0.1:80/TCP = ..." with the fate filled in.
std::string flow_line(const ServiceTable& table, std::string_view line) {
  const std::string_view flow = trim(line.substr(0, line.find('=')));
  const size_t arrow = flow.find(" -> "), slash = flow.rfind('/');
  if (arrow == flow.npos || slash == flow.npos || slash < arrow) {
    return cat(flow, " = expected SOURCE -> ADDRESS:PORT/PROTOCOL");
  }
  const auto source = Ip::parse(flow.substr(0, arrow));
  const auto destination = SocketAddress::parse(flow.substr(arrow + 4, slash - arrow - 4));
  const auto protocol = parse_protocol(flow.substr(slash + 1));
  if (!source || !destination || !protocol) return cat(flow, " = not an address or protocol");
  return cat(flow, " = ",
             to_text(resolve(table, *source, destination->ip, destination->port, *protocol)));
}

std::string flow_table(const ServiceTable& table, std::string_view section) {
  std::string out;
  for (const std::string_view line : split(section, '\n')) {
    if (line.empty()) continue;
    append(out, line.starts_with("#") ? std::string(line) : flow_line(table, line));
    append(out, '\n');
  }
  return out;
}

std::string kernel_rows(const ServiceTable& table) {
  MemoryLogSink sink;
  Registry registry;
  const auto driver = make_nftables_driver({}, Log(sink), registry, std::make_unique<FakeNft>());
  const ApplyReport report = driver->apply(table, {}, true);
  return report.ok() ? driver->dump() : cat("error: ", join(report.errors, "; "), "\n");
}

std::string ebpf_maps(const ServiceTable& table) {
  ebpf::FakeMaps maps;
  ebpf::ServiceSync services(maps);
  ebpf::NodeSync node(maps, services.addresses(), {});
  ApplyReport report;
  node.apply(table.node, report);
  const ApplyReport applied = services.apply(table, {}, true);
  report.errors.insert(report.errors.end(), applied.errors.begin(), applied.errors.end());
  if (!report.ok()) return cat("error: ", join(report.errors, "; "), "\n");
  return ebpf::dump_maps(maps, [&](uint32_t id) { return services.name_of(id); });
}

std::string iptables_rules(const ServiceTable& table, bool large) {
  MemoryLogSink sink;
  Registry registry;
  net::EventLoop loop;
  IptablesOptions options;
  if (large) options.brief_above = options.tree_above = 0;
  const auto driver =
      make_iptables_driver(options, loop, Log(sink), registry, std::make_unique<FakeIptables>());
  const ApplyReport report = driver->apply(table, {}, true);
  return report.ok() ? driver->dump() : cat("error: ", join(report.errors, "; "), "\n");
}

// Virtual services and their destinations, the addresses that lead to them, and the elements of the
// packet filter's sets.
std::string ipvs_state(const ServiceTable& table) {
  MemoryLogSink sink;
  Registry registry;
  net::EventLoop loop;
  const auto driver =
      make_ipvs_driver({}, loop, Log(sink), registry,
                       {std::make_unique<ipvs::FakeTable>(), std::make_unique<ipvs::FakeHost>(),
                        std::make_unique<FakeNft>()});
  const ApplyReport report = driver->apply(table, {}, true);
  return report.ok() ? driver->dump() : cat("error: ", join(report.errors, "; "), "\n");
}

// What is captured, and the addresses that become local.
std::string userspace_state(const ServiceTable& table) {
  MemoryLogSink sink;
  Registry registry;
  userspace::FakeKernel kernel;
  kernel.addresses = {table.node.node_ips.begin(), table.node.node_ips.end()};
  const auto driver =
      make_userspace_driver({}, Log(sink), registry,
                            {userspace::make_fake_capture(kernel),
                             userspace::make_fake_routes(kernel), std::make_unique<RealClock>()});
  if (const auto started = driver->start(); !started) return started.error().message;
  const ApplyReport report = driver->apply(table, {}, true);
  return report.ok() ? driver->dump() : cat("error: ", join(report.errors, "; "), "\n");
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, TableRowsAndFlowsAreAsWritten) {
  auto file = GoldenFile::read(GetParam());
  ASSERT_TRUE(file) << file.error().message;
  const auto table = compile_file(*file);
  ASSERT_TRUE(table) << table.error().message;
  std::vector<std::pair<std::string_view, std::string>> parts = {
      {"table", to_text(*table)},
      {"nftables", kernel_rows(*table)},
      {"iptables", iptables_rules(*table, false)},
      {"ipvs", ipvs_state(*table)},
      {"userspace", userspace_state(*table)},
      {"ebpf", ebpf_maps(*table)},
      {"flows", flow_table(*table, file->section("flows"))},
  };
  ASSERT_TRUE(file->has("flows"));
  // In the style of large clusters, where the file asks for it.
  constexpr std::string_view large = "iptables of a large cluster";
  if (!file->section(large).empty()) parts.emplace_back(large, iptables_rules(*table, true));
  if (updating_golden_files()) {
    for (const auto& [name, text] : parts) {
      if (file->has(name)) file->set_section(name, text);
    }
    ASSERT_TRUE(file->write());
    return;
  }
  for (const auto& [name, text] : parts) {
    if (!file->has(name)) continue;
    EXPECT_EQ(file->section(name), text) << "section " << name << "; UPDATE_GOLDEN=1 rewrites it";
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Golden, testing::ValuesIn(golden_paths()), [](const auto& suite) {
  return std::filesystem::path(suite.param).stem().string();
});

}  // namespace
}  // namespace fairlead::dataplane
