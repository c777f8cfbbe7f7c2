// What one run of a tc program costs, by bpf_prog_test_run_opts() with `repeat`: the counter
// `ns_per_run` is the kernel's own mean over many runs on one packet, so its maps are hot. The
// first service is its own backend, so that a packet that was translated is still the same one.
#include <benchmark/benchmark.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/text.h"
#include "bench/dataplane/must.h"
#include "dataplane/ebpf/marks.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/object.h"
#include "dataplane/ebpf/service_sync.h"

namespace fairlead::bench {
namespace {

namespace ebpf = dataplane::ebpf;

constexpr int runs = 1'000'000;
constexpr uint32_t services = 10'000;
constexpr uint32_t client = 0x0a010002, service = 0x0a600000, backend = 0x0a020002;

// The driver's maps and programs without links, in a bpffs of its own.
class Programs {
 public:
  explicit Programs(dataplane::Algorithm algorithm = dataplane::Algorithm::random)
      : pins_(folder()) {
    must(pins_.open());
    object_ = must(ebpf::Object::load(pins_, {}, dataplane::probe_ebpf()));
    maps_ = std::make_unique<ebpf::KernelMaps>(object_->map_fds());
    ebpf::Marks marks(object_->marks());
    ebpf::MarkingMaps marking(*maps_, marks);
    dataplane::ServiceTable table;
    table.node = {"node", {Ip::v4(0x0a010001)}, {*Cidr::parse("10.1.0.0/24")}};
    for (uint32_t i = 0; i < services; ++i) {
      dataplane::PortRule rule;
      rule.port_name = "http";
      rule.frontends = {{dataplane::FrontendKind::cluster_ip, Ip::v4(service + i), 80}};
      const bool itself = i == 0;
      if (itself) rule.algorithm = algorithm;
      rule.backends = {{Ip::v4(itself ? service : backend), uint16_t(itself ? 80 : 8080), true}};
      table.services[{"default", cat("s", i)}].ports = {rule};
    }
    ebpf::ServiceSync sync(marking);
    CHECK(sync.apply(table, {}, true).ok());
    dataplane::ApplyReport report;
    ebpf::NodeSync(marking, sync.addresses(), ebpf::read_node_facts()).apply(table.node, report);
    CHECK(report.ok());
    CHECK(marks.refresh(*maps_) == 0);
  }
  ~Programs() {
    object_.reset();
    must(pins_.remove_all());
    ::rmdir(folder_.c_str());
  }
  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;

  // Mean time of a run in ns; the packet is the same each time unless a run changes it.
  uint32_t run(const char* program, std::string packet, int repeat) {
    LIBBPF_OPTS(bpf_test_run_opts, opts);
    opts.data_in = packet.data();
    opts.data_size_in = static_cast<uint32_t>(packet.size());
    opts.repeat = repeat;
    CHECK(bpf_prog_test_run_opts(object_->program_fd(program), &opts) == 0);
    return opts.duration;
  }

 private:
  const std::string& folder() {
    char name[] = "/tmp/fairlead-bench-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    return folder_ = name;
  }

  std::string folder_;
  ebpf::Pins pins_;
  std::unique_ptr<ebpf::Object> object_;
  std::unique_ptr<ebpf::KernelMaps> maps_;
};

void put16(std::string& to, size_t at, uint16_t value) {
  to[at] = static_cast<char>(value >> 8);
  to[at + 1] = static_cast<char>(value);
}
void put32(std::string& to, size_t at, uint32_t value) {
  put16(to, at, static_cast<uint16_t>(value >> 16));
  put16(to, at + 2, static_cast<uint16_t>(value));
}

// Ethernet, IPv4, TCP; the checksums do not matter here.
std::string tcp_packet(uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport, uint8_t flags) {
  std::string frame(14 + 20 + 20, '\0');
  put16(frame, 12, 0x0800);
  frame[14] = 0x45;
  put16(frame, 16, 40);
  frame[22] = 64;
  frame[23] = IPPROTO_TCP;
  put32(frame, 26, src);
  put32(frame, 30, dst);
  put16(frame, 34, sport);
  put16(frame, 36, dport);
  frame[46] = 0x50;
  frame[47] = static_cast<char>(flags);
  return frame;
}

constexpr uint8_t syn = 2, ack = 16;

void BM_Packet_ByProgram(benchmark::State& state, const char* program, const std::string& packet) {
  if (::geteuid() != 0) return state.SkipWithError("needs root: it loads BPF programs");
  Programs programs;
  programs.run("tc_ingress", tcp_packet(client, 40000, service, 80, syn), 1);
  for (auto _ : state) {
    const uint32_t ns = programs.run(program, packet, runs);
    state.counters["ns_per_run"] = ns;
    state.SetIterationTime(ns * 1e-9);
  }
}

void BM_Packet_ByNewFlow(benchmark::State& state, dataplane::Algorithm algorithm) {
  if (::geteuid() != 0) return state.SkipWithError("needs root: it loads BPF programs");
  Programs programs(algorithm);
  constexpr uint32_t flows = 20'000;
  uint64_t ns = 0;
  for (auto _ : state) {
    for (uint32_t i = 0; i < flows; ++i) {
      ns += programs.run("tc_ingress",
                         tcp_packet(client, static_cast<uint16_t>(40000 + i), service, 80, syn), 1);
    }
    state.counters["ns_per_run"] = static_cast<double>(ns) / flows;
    state.SetIterationTime(static_cast<double>(ns) / flows * 1e-9);
  }
}

#define PACKET(name, program, ...)                                               \
  BENCHMARK_CAPTURE(BM_Packet_ByProgram, name, program, tcp_packet(__VA_ARGS__)) \
      ->Iterations(5)                                                            \
      ->UseManualTime()

PACKET(ingress_not_a_service, "tc_ingress", client, 40000, backend, 8080, ack);
PACKET(egress_not_a_service, "tc_egress", backend, 8080, client, 40000, ack);
PACKET(ingress_other_port_of_a_service, "tc_ingress", client, 40000, service, 81, ack);
PACKET(egress_other_port_of_a_pair, "tc_egress", service, 81, client, 40000, ack);
PACKET(ingress_established, "tc_ingress", client, 40000, service, 80, ack);
PACKET(egress_established, "tc_egress", service, 80, client, 40000, ack);

#define NEW_FLOW(algorithm)                                                          \
  BENCHMARK_CAPTURE(BM_Packet_ByNewFlow, algorithm, dataplane::Algorithm::algorithm) \
      ->Iterations(1)                                                                \
      ->UseManualTime()

NEW_FLOW(random);
NEW_FLOW(maglev);

}  // namespace
}  // namespace fairlead::bench
