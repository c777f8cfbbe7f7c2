// Which port a masqueraded connection gets: none that its backend may still remember.
#include <bpf/bpf.h>

#include <set>

#include "base/text.h"
#include "dataplane/ebpf/marks.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/object.h"
#include "dataplane/ebpf/service_sync.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::ebpf {
namespace {

constexpr uint8_t syn = 2, rst = 4;

void put16(std::string& to, size_t at, uint32_t value) {
  to[at] = static_cast<char>(value >> 8);
  to[at + 1] = static_cast<char>(value);
}

// Ethernet, IPv4, TCP; nobody looks at the checksums here.
std::string tcp_packet(uint32_t from, uint16_t sport, uint32_t to, uint16_t dport, uint8_t flags) {
  std::string frame(14 + 20 + 20, '\0');
  put16(frame, 12, 0x0800);
  frame[14] = 0x45;
  put16(frame, 16, 40);
  frame[22] = 64;
  frame[23] = 6;
  for (int half = 0; half < 2; ++half) {
    put16(frame, 26 + 2u * half, from >> (16 - 16 * half));
    put16(frame, 30 + 2u * half, to >> (16 - 16 * half));
  }
  put16(frame, 34, sport);
  put16(frame, 36, dport);
  frame[46] = 0x50;
  frame[47] = static_cast<char>(flags);
  return frame;
}

// The programs on maps of their own, with no link.
class Programs {
 public:
  Programs(const test::Lab& lab, const std::string& table, uint16_t low, uint16_t high)
      : pins_(lab.bpffs()) {
    EXPECT_TRUE(pins_.open());
    auto object = Object::load(pins_, lab.options(), probe_ebpf());
    EXPECT_TRUE(object) << object.error().message;
    object_ = *std::move(object);
    KernelMaps kernel(object_->map_fds());
    Marks marks(object_->marks());
    MarkingMaps maps(kernel, marks);
    const ServiceTable parsed = test::table_of(table);
    ServiceSync services(maps);
    EXPECT_TRUE(services.apply(parsed, {}, true).ok());
    NodeFacts facts{.netns_cookie = 1, .masquerade_port_low = low, .masquerade_port_high = high};
    ApplyReport report;
    NodeSync(maps, services.addresses(), facts).apply(parsed.node, report);
    EXPECT_TRUE(report.ok());
    EXPECT_EQ(marks.refresh(maps), 0);
  }

  std::string run(const char* program, std::string frame) {
    LIBBPF_OPTS(bpf_test_run_opts, opts);
    std::string out(frame.size() + 64, '\0');
    opts.data_in = frame.data();
    opts.data_size_in = static_cast<uint32_t>(frame.size());
    opts.data_out = out.data();
    opts.data_size_out = static_cast<uint32_t>(out.size());
    EXPECT_EQ(bpf_prog_test_run_opts(object_->program_fd(program), &opts), 0);
    out.resize(opts.data_size_out);
    return out;
  }

  // The source port at the backend of a new connection to the NodePort.
  uint16_t port_of(uint16_t client_port) {
    const std::string there = run("tc_ingress", packet(client_port, syn));
    const std::string out = run("tc_egress", there);
    return static_cast<uint16_t>(static_cast<uint8_t>(out[34]) << 8 |
                                 static_cast<uint8_t>(out[35]));
  }
  void close(uint16_t client_port) {
    run("tc_egress", run("tc_ingress", packet(client_port, rst)));
  }

 private:
  static std::string packet(uint16_t client_port, uint8_t flags) {
    return tcp_packet(0xc0000209, client_port, 0xc0000201, 30080, flags);
  }

  Pins pins_;
  std::unique_ptr<Object> object_;
};

constexpr const char* node_port = R"(node 192.0.2.1
pods 10.1.0.0/16
a/b TCP 10.96.0.1:80,node:30080 -> 10.1.0.2:8080
)";

TEST(MasqueradePort, IsNotOneThatAClosedConnectionHadJustNow) {
  REQUIRE_BPF();
  test::Lab lab;
  Programs programs(lab, node_port, 1024, 29999);
  std::set<uint16_t> ports;
  for (uint16_t client = 0; client < 800; ++client) {
    const uint16_t port = programs.port_of(static_cast<uint16_t>(40000 + client));
    EXPECT_TRUE(port >= 1024 && port <= 29999) << port;
    EXPECT_TRUE(ports.insert(port).second) << "connection " << client << " got port " << port;
    programs.close(static_cast<uint16_t>(40000 + client));
  }
}

TEST(MasqueradePort, IsTakenAnewWhenThereIsNoOther) {
  REQUIRE_BPF();
  test::Lab lab;
  Programs programs(lab, node_port, 2000, 2002);
  for (uint16_t client = 0; client < 12; ++client) {
    const uint16_t port = programs.port_of(static_cast<uint16_t>(40000 + client));
    EXPECT_TRUE(port >= 2000 && port <= 2002) << port;
    programs.close(static_cast<uint16_t>(40000 + client));
  }
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf
