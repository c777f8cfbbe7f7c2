// The conntrack maps behind `flows`: how they are shared with an older layout's programs, and how
// flows move into a map of another size, whoever is killed when.
#include "dataplane/ebpf/flow_maps.h"

#include <bpf/bpf.h>

#include "base/text.h"
#include "bpf/shared/maps.h"
#include "dataplane/ebpf/object.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::ebpf {
namespace {

fl_tuple tuple(uint16_t port) {
  fl_tuple out{};
  out.sport = port;
  out.protocol = 6;
  return out;
}

void begin(int conntrack, uint16_t port, uint16_t to) {
  const fl_tuple key = tuple(port);
  fl_nat value{};
  value.port = to;
  EXPECT_EQ(bpf_map_update_elem(conntrack, &key, &value, BPF_ANY), 0) << strerror(errno);
}

// Where the flow of a port goes; -1: there is none.
int held(int conntrack, uint16_t port) {
  const fl_tuple key = tuple(port);
  fl_nat value{};
  return bpf_map_lookup_elem(conntrack, &key, &value) == 0 ? int{value.port} : -1;
}

uint32_t entries(int map) {
  bpf_map_info info{};
  uint32_t length = sizeof info;
  EXPECT_EQ(bpf_obj_get_info_by_fd(map, &info, &length), 0);
  return info.max_entries;
}

void put(int flows, uint32_t slot, int conntrack) {
  EXPECT_EQ(bpf_map_update_elem(flows, &slot, &conntrack, BPF_ANY), 0) << strerror(errno);
}

net::Fd make(const Object& object, uint32_t size) {
  auto map = make_conntrack(size, object.conntrack_types());
  EXPECT_TRUE(map) << map.error().message;
  return map ? std::move(*map) : net::Fd();
}

class FlowMaps : public testing::Test {
 protected:
  void SetUp() override {
    REQUIRE_BPF();
    lab_ = std::make_unique<test::Lab>();
    options_ = lab_->options();
    pins_.emplace(lab_->bpffs());
    ASSERT_TRUE(pins_->open());
  }
  void TearDown() override {
    if (pins_) {
      EXPECT_TRUE(pins_->remove_all());
    }
  }
  std::unique_ptr<Object> load() {
    auto object = Object::load(*pins_, options_, probe_ebpf());
    EXPECT_TRUE(object) << object.error().message;
    return object ? std::move(*object) : nullptr;
  }
  // What was pinned until now is another layout's from here on.
  void age_pins() {
    const std::string home = lab_->bpffs() + "/fairlead";
    ASSERT_EQ(rename(cat(home, "/v", int{FL_LAYOUT}).c_str(), (home + "/v0").c_str()), 0);
    ASSERT_TRUE(pins_->open());
    ASSERT_TRUE(pins_->has_older());
  }

  std::unique_ptr<test::Lab> lab_;
  EbpfOptions options_;
  std::optional<Pins> pins_;
};

TEST_F(FlowMaps, ProgramsOfTwoLayoutsShareTheirFlows) {
  const auto older = load();
  begin(older->map_fd("conntrack"), 1, 10);
  older->marks().slots[7] = 1;
  age_pins();
  const auto ours = load();
  EXPECT_EQ(held(ours->map_fd("conntrack"), 1), 10) << "it began before";
  begin(older->map_fd("conntrack"), 2, 20);
  EXPECT_EQ(held(ours->map_fd("conntrack"), 2), 20) << "it began with the older programs";
  begin(ours->map_fd("conntrack"), 3, 30);
  EXPECT_EQ(held(older->map_fd("conntrack"), 3), 30) << "it began with ours";
  ours->marks().slots[8] = 1;
  EXPECT_EQ(ours->marks().slots[7], 1);
  EXPECT_EQ(older->marks().slots[8], 1) << "else the older programs would pass its answers";
  EXPECT_NE(older->map_fd("frontends"), ours->map_fd("frontends"));
}

// Before layout 4 programs had the map itself, pinned by its name.
TEST_F(FlowMaps, APlainMapOfAnOlderLayoutIsShared) {
  const auto older = load();
  const net::Fd plain = make(*older, 4096);
  for (const char* name : {"flows", "conntrack"}) unlink(pins_->map(name).c_str());
  begin(plain.get(), 1, 10);
  ASSERT_EQ(bpf_obj_pin(plain.get(), pins_->map("conntrack").c_str()), 0) << strerror(errno);
  age_pins();
  const auto ours = load();
  EXPECT_EQ(held(ours->map_fd("conntrack"), 1), 10);
  begin(plain.get(), 2, 20);
  EXPECT_EQ(held(ours->map_fd("conntrack"), 2), 20);
  EXPECT_EQ(entries(ours->map_fd("conntrack")), 4096u) << "until the older programs are gone";
  const auto moved = ours->resize_flows();
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_EQ(*moved, 2u);
  EXPECT_EQ(entries(ours->map_fd("conntrack")), options_.max_conntrack);
  EXPECT_EQ(held(ours->map_fd("conntrack"), 2), 20);
}

TEST_F(FlowMaps, AnOlderMapOfAnotherShapeIsLeftAlone) {
  const net::Fd strange(bpf_map_create(BPF_MAP_TYPE_LRU_HASH, "conntrack", sizeof(fl_tuple),
                                       sizeof(fl_nat) + 8, 4096, nullptr));
  ASSERT_EQ(bpf_obj_pin(strange.get(), pins_->map("conntrack").c_str()), 0);
  age_pins();
  const auto ours = load();
  EXPECT_EQ(entries(ours->map_fd("conntrack")), options_.max_conntrack);
  EXPECT_EQ(held(ours->map_fd("conntrack"), 1), -1);
}

TEST_F(FlowMaps, FlowsMoveIntoAMapOfAnotherSize) {
  const auto first = load();
  begin(first->map_fd("conntrack"), 1, 10);
  EXPECT_EQ(*first->resize_flows(), 0u) << "it has the size that is wanted";
  options_.max_conntrack *= 2;
  const auto second = load();
  begin(first->map_fd("conntrack"), 2, 20);
  EXPECT_EQ(*second->resize_flows(), 2u);
  EXPECT_EQ(entries(second->map_fd("conntrack")), options_.max_conntrack);
  EXPECT_EQ(held(second->map_fd("conntrack"), 1), 10);
  EXPECT_EQ(held(second->map_fd("conntrack"), 2), 20);
  EXPECT_EQ(*second->resize_flows(), 0u);
  const net::Fd pinned(bpf_obj_get(pins_->map("conntrack").c_str()));
  EXPECT_EQ(held(pinned.get(), 2), 20) << "where programs of layout 3 look for it";
  EXPECT_EQ(entries(pinned.get()), options_.max_conntrack);
}

// Killed after the first step, or after the second one, with packets in between.
TEST_F(FlowMaps, AMoveThatWasCutOffIsEndedByTheNextRun) {
  const auto first = load();
  const int flows = first->map_fd("flows"), before = first->map_fd("conntrack");
  begin(before, 1, 10);
  begin(before, 2, 20);
  put(flows, FL_FLOWS_BEFORE, before);
  const auto second = load();
  EXPECT_EQ(*second->resize_flows(), 0u) << "from a map into itself";
  EXPECT_EQ(held(second->map_fd("conntrack"), 1), 10);

  const net::Fd next = make(*first, 4096);
  put(flows, FL_FLOWS_BEFORE, before);
  put(flows, FL_FLOWS_NOW, next.get());
  begin(next.get(), 2, 21);
  const auto third = load();
  EXPECT_EQ(held(third->map_fd("conntrack"), 2), 21);
  EXPECT_EQ(*third->resize_flows(), 3u) << "one that had not followed, and both once more";
  EXPECT_EQ(entries(third->map_fd("conntrack")), options_.max_conntrack);
  EXPECT_EQ(held(third->map_fd("conntrack"), 1), 10);
  EXPECT_EQ(held(third->map_fd("conntrack"), 2), 21) << "what is newer stays";
  const uint32_t slot = FL_FLOWS_BEFORE;
  uint32_t id = 0;
  EXPECT_NE(bpf_map_lookup_elem(flows, &slot, &id), 0) << "no program looks there any more";
}

// An older layout's move is ended by those who take its flows over.
TEST_F(FlowMaps, AMoveOfAnOlderLayoutIsEndedBeforeItsMapIsShared) {
  const auto older = load();
  const net::Fd next = make(*older, options_.max_conntrack);
  begin(older->map_fd("conntrack"), 1, 10);
  put(older->map_fd("flows"), FL_FLOWS_BEFORE, older->map_fd("conntrack"));
  put(older->map_fd("flows"), FL_FLOWS_NOW, next.get());
  age_pins();
  const auto ours = load();
  EXPECT_EQ(held(ours->map_fd("conntrack"), 1), 10);
  begin(next.get(), 2, 20);
  EXPECT_EQ(held(ours->map_fd("conntrack"), 2), 20);
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf
