// What a kernel must have for eBPF mode.
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::test {
namespace {

EbpfSupport everything() {
  EbpfSupport support;
  support.functions = support.connect = support.sendmsg = support.recvmsg = true;
  support.getpeername = support.tcx = support.tc = support.close_sockets = true;
  return support;
}

TEST(EbpfSupport, WithoutFunctionsThatTakePointersNothingIsServed) {
  EXPECT_TRUE(can_serve(everything()));
  EbpfSupport support = everything();
  support.functions = false;
  support.notes = {"no functions that take pointers, which came with Linux 5.12"};
  const auto served = can_serve(support);
  ASSERT_FALSE(served);
  EXPECT_EQ(served.error().message,
            "this kernel cannot run eBPF mode: no functions that take pointers, which came with "
            "Linux 5.12");
}

TEST(EbpfSupport, SocketsOrPacketsAreEnough) {
  EbpfSupport support = everything();
  support.tc = false;
  EXPECT_TRUE(can_serve(support)) << "sockets only";
  support.connect = false;
  support.notes = {"no tc programs", "no cgroup hook for connect"};
  EXPECT_FALSE(can_serve(support));
  support.tc = true;
  EXPECT_TRUE(can_serve(support)) << "packets only";
}

// A probe that says no on a kernel where the programs load, or the other way round, is wrong.
TEST(EbpfSupport, TheProbeSaysWhatLoadingSays) {
  REQUIRE_BPF();
  const EbpfSupport support = probe_ebpf();
  EXPECT_TRUE(support.functions);
  for (const std::string& note : support.notes) EXPECT_EQ(note.find("5.12"), note.npos) << note;
  Lab lab;
  lab.link("node", "eth0", {"10.1.0.1/24"}, "pod", "eth0", {"10.1.0.2/24"});
  auto scope = net::NetnsScope::enter(lab.netns("node"));
  const auto driver = lab.driver();
  EXPECT_TRUE(driver->start());
  EXPECT_TRUE(driver->cleanup());
}

}  // namespace
}  // namespace fairlead::dataplane::test
