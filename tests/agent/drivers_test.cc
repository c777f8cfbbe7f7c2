// Which proxy mode is chosen, and what is said about it.
#include "agent/drivers.h"

#include <gtest/gtest.h>

namespace fairlead::agent {
namespace {

using dataplane::EbpfSupport;
using dataplane::Mode;

EbpfSupport everything() {
  EbpfSupport support;
  support.functions = support.connect = support.sendmsg = support.recvmsg = true;
  support.getpeername = support.tcx = support.tc = support.close_sockets = true;
  return support;
}

TEST(ChooseMode, TheBestThatTheKernelHas) {
  struct Case {
    const char* name;
    bool EbpfSupport::* missing;
    const char* note;
    Mode mode;
    const char* why;
  };
  const Case cases[] = {
      {"everything is there", nullptr, nullptr, Mode::ebpf, "the kernel has what eBPF mode needs"},
      {"an old kernel", &EbpfSupport::functions, "no functions that take pointers", Mode::nftables,
       "this kernel lacks what eBPF mode needs: no functions that take pointers"},
      {"no tc", &EbpfSupport::tc, "no tc programs", Mode::nftables,
       "this kernel lacks what eBPF mode needs: no tc programs"},
      {"no sendmsg", &EbpfSupport::sendmsg, "no cgroup hook", Mode::nftables,
       "this kernel lacks what eBPF mode needs: no cgroup hook"},
      {"something one can do without", &EbpfSupport::close_sockets, "no SOCK_DESTROY", Mode::ebpf,
       "no SOCK_DESTROY"},
  };
  for (const Case& c : cases) {
    const ChosenMode chosen = choose_mode(ProxyMode::automatic, [&] {
      EbpfSupport support = everything();
      if (c.missing != nullptr) support.*c.missing = false;
      if (c.note != nullptr) support.notes = {c.note};
      return support;
    });
    EXPECT_EQ(chosen.mode, c.mode) << c.name;
    EXPECT_EQ(chosen.why, c.why) << c.name;
  }
}

TEST(ChooseMode, WhatIsAskedForIsTakenWithoutALook) {
  const auto probe = [] {
    ADD_FAILURE() << "nobody asked for the kernel's best";
    return EbpfSupport{};
  };
  EXPECT_EQ(choose_mode(ProxyMode::none, probe).mode, std::nullopt);
  EXPECT_EQ(choose_mode(ProxyMode::ebpf, probe).mode, Mode::ebpf);
  EXPECT_EQ(choose_mode(ProxyMode::ipvs, probe).mode, Mode::ipvs);
}

// A switch there and back makes a mode twice, with the same registry.
TEST(MakeDriver, EveryModeIsBuiltInAndMayBeMadeAgain) {
  net::EventLoop loop;
  MemoryLogSink sink;
  const Log log(sink);
  Registry registry;
  const AgentConfig config;
  for (int i = 0; i < 2; ++i) {
    for (const Mode mode : dataplane::all_modes) {
      const auto driver = make_driver(mode, {config, loop, log, registry});
      ASSERT_NE(driver, nullptr) << to_string(mode);
      EXPECT_EQ(driver->mode(), to_string(mode));
    }
  }
  EXPECT_EQ(sink.text(), "") << "nothing is touched before start()";
}

}  // namespace
}  // namespace fairlead::agent
