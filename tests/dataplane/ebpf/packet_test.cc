// The packet files of tests/packets, run through the tc programs by bpf_prog_test_run_opts(): no
// link and no route takes part. A file is a service table, an empty line, and steps:
//
//   ingress # what it shows        which program, then the frame in hex
//     0200...
//   ok                             or: same (unchanged), drop, redirect; then the frame after it
//     0200...
//
// Steps of one file share the connection table. tests/packets/make.py writes the files. Each file
// runs three times: without the question of bpf/shared/marks.h, with it, and while its flows are on
// their way into another map.
#include <bpf/bpf.h>
#include <linux/pkt_cls.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "dataplane/ebpf/marks.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/object.h"
#include "dataplane/ebpf/service_sync.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::ebpf {
namespace {

constexpr uint16_t masquerade_port = 20000;

struct Step {
  int line = 0;
  std::string hook, what, in, verdict, out;  // frames in hex
};

struct PacketFile {
  std::string table;
  std::vector<Step> steps;
};

PacketFile read_packets(const std::string& path) {
  PacketFile file;
  std::ifstream in(path);
  int number = 0;
  for (std::string line; std::getline(in, line) && !line.empty(); ++number) {
    if (line[0] != '#') file.table += line + "\n";
  }
  ++number;
  std::string* hex = nullptr;
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::string_view word = trim(std::string_view(line).substr(0, line.find('#')));
    if (word.empty()) continue;
    if (word == "ingress" || word == "egress") {
      Step step{.line = number, .hook = cat("tc_", word), .what = line};
      file.steps.push_back(step);
      hex = &file.steps.back().in;
    } else if (line[0] == ' ') {
      *hex += word;
    } else {
      file.steps.back().verdict = word;
      hex = &file.steps.back().out;
    }
  }
  return file;
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

std::string verdict_name(uint32_t code) {
  switch (code) {
    case static_cast<uint32_t>(TC_ACT_UNSPEC):  // the next program, and then the kernel
      return "ok";
    case TC_ACT_SHOT:
      return "drop";
    case TC_ACT_REDIRECT:
      return "redirect";
    default:
      return cat("verdict ", code);
  }
}

enum class Variant { plain, marked, moving };

std::string_view suffix(Variant variant) {
  constexpr std::array<std::string_view, 3> names = {"", "_marked", "_moving"};
  return names.at(static_cast<size_t>(variant));
}

// As between two steps of resize_conntrack(): the map in use is empty, and every flow so far is
// still in the one before.
void begin_move(Object& object) {
  ASSERT_TRUE(object.resize_flows());  // ends the move before
  const auto fresh = make_conntrack(4096, object.conntrack_types());
  ASSERT_TRUE(fresh) << fresh.error().message;
  const int now = fresh->get(), before = object.map_fd("conntrack"), flows = object.map_fd("flows");
  const uint32_t slots[] = {FL_FLOWS_BEFORE, FL_FLOWS_NOW};
  ASSERT_EQ(bpf_map_update_elem(flows, &slots[0], &before, BPF_ANY), 0);
  ASSERT_EQ(bpf_map_update_elem(flows, &slots[1], &now, BPF_ANY), 0);
}

class PacketTest : public testing::TestWithParam<std::tuple<std::string, Variant>> {};

std::vector<std::string> packet_files() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(FAIRLEAD_SOURCE_DIR "/tests/packets")) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST_P(PacketTest, ComesOutAsTheFileSays) {
  REQUIRE_BPF();
  test::Lab lab;
  const auto& [name, variant] = GetParam();
  PacketFile file = read_packets(cat(FAIRLEAD_SOURCE_DIR "/tests/packets/", name, ".txt"));
  ASSERT_FALSE(file.steps.empty());
  Pins pins(lab.bpffs());
  ASSERT_TRUE(pins.open());
  auto object = Object::load(pins, lab.options(), probe_ebpf());
  ASSERT_TRUE(object) << object.error().message;
  KernelMaps kernel_maps((*object)->map_fds());
  Marks marks((*object)->marks());
  MarkingMaps maps(kernel_maps, marks);
  ServiceTable table = test::table_of(file.table);
  ServiceSync services(maps);
  ASSERT_TRUE(services.apply(table, {}, true).ok());
  NodeSync node(maps, services.addresses(),
                {.netns_cookie = 1,
                 .masquerade_port_low = masquerade_port,
                 .masquerade_port_high = masquerade_port});
  ApplyReport report;
  node.apply(table.node, report);
  ASSERT_TRUE(report.ok());
  ASSERT_EQ(variant == Variant::plain ? 0 : marks.refresh(maps), 0);
  for (const Step& step : file.steps) {
    if (variant == Variant::moving) begin_move(**object);
    std::string in = from_hex(step.in), out(2048, '\0');
    LIBBPF_OPTS(bpf_test_run_opts, opts);
    opts.data_in = in.data();
    opts.data_size_in = static_cast<uint32_t>(in.size());
    opts.data_out = out.data();
    opts.data_size_out = static_cast<uint32_t>(out.size());
    opts.repeat = 1;
    ASSERT_EQ(bpf_prog_test_run_opts((*object)->program_fd(step.hook), &opts), 0)
        << name << ":" << step.line << ": " << strerror(errno);
    out.resize(opts.data_size_out);
    std::string verdict = verdict_name(opts.retval);
    bool same = step.verdict == "same";
    EXPECT_EQ(verdict, same ? "ok" : step.verdict) << step.what << " line " << step.line;
    if (verdict == "drop") continue;
    EXPECT_EQ(hex_encode(out), same ? step.in : step.out)
        << name << ".txt:" << step.line << ": " << step.what;
  }
  EXPECT_TRUE(pins.remove_all());
}

INSTANTIATE_TEST_SUITE_P(
    Files, PacketTest,
    testing::Combine(testing::ValuesIn(packet_files()),
                     testing::Values(Variant::plain, Variant::marked, Variant::moving)),
    [](const auto& file) { return cat(std::get<0>(file.param), suffix(std::get<1>(file.param))); });

}  // namespace
}  // namespace fairlead::dataplane::ebpf
