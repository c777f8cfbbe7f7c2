// Flows of another layout's maps, before and after our programs take over.
#include "dataplane/ebpf/older_flows.h"

#include <bpf/bpf.h>

#include "base/text.h"
#include "bpf/shared/maps.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::ebpf {
namespace {

fl_tuple tuple(uint16_t port) {
  fl_tuple out{};
  out.sport = port;
  out.protocol = 6;
  return out;
}

fl_nat nat(uint16_t port) {
  fl_nat out{};
  out.port = port;
  out.service = 7;
  return out;
}

TEST(OlderFlows, ThoseThatBeganMeanwhileFollowAndOursStay) {
  REQUIRE_BPF();
  test::Lab lab;
  Pins pins(lab.bpffs());
  ASSERT_TRUE(pins.open());
  auto older = Object::load(pins, lab.options(), probe_ebpf());
  ASSERT_TRUE(older) << older.error().message;
  const std::string home = lab.bpffs() + "/fairlead";
  ASSERT_EQ(rename(cat(home, "/v", int{FL_LAYOUT}).c_str(), (home + "/v0").c_str()), 0);
  ASSERT_TRUE(pins.open());
  ASSERT_TRUE(pins.has_older());
  auto ours = Object::load(pins, lab.options(), probe_ebpf());
  ASSERT_TRUE(ours) << ours.error().message;

  const auto begin = [](const Object& object, uint16_t port, uint16_t to) {
    const fl_tuple key = tuple(port);
    const fl_nat value = nat(to);
    EXPECT_EQ(bpf_map_update_elem(object.map_fd("conntrack"), &key, &value, BPF_ANY), 0);
  };
  const auto held = [&](uint16_t port) {
    const fl_tuple key = tuple(port);
    fl_nat value{};
    const int error = bpf_map_lookup_elem((*ours)->map_fd("conntrack"), &key, &value);
    EXPECT_TRUE(error != 0 || value.port != 10 || value.service == 0) << "they choose again";
    return error == 0 ? int{value.port} : -1;
  };
  KernelMaps maps((*ours)->map_fds());
  begin(**older, 1, 10);
  const auto carried = carry_older_flows(pins, **ours, maps);
  ASSERT_TRUE(carried) << carried.error().message;
  EXPECT_EQ(*carried, 1u);
  EXPECT_EQ(held(1), 10);

  begin(**older, 2, 10);
  begin(**older, 3, 10);
  begin(**ours, 3, 11);
  EXPECT_EQ(held(2), -1);
  EXPECT_EQ(carry_missed_flows(pins, **ours), 1u);
  EXPECT_EQ(held(1), 10);
  EXPECT_EQ(held(2), 10);
  EXPECT_EQ(held(3), 11) << "our programs know better";
  EXPECT_EQ(carry_missed_flows(pins, **ours), 0u);
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf
