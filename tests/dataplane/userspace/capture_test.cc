// What is captured, as people read it in `explain` and `verify`.
#include "dataplane/userspace/capture.h"

#include <gtest/gtest.h>

namespace fairlead::dataplane::userspace {
namespace {

Verdicts verdicts(Verdict node, Verdict pods, Verdict outside, bool guarded = false) {
  return {{node, pods, outside}, guarded};
}

TEST(CaptureText, SaysWhatTheKernelHoldsWhateverItIs) {
  using enum Verdict;
  const FlowKey web{{*Ip::parse("10.96.0.1"), 80}, Protocol::tcp};
  const FlowKey dns{{*Ip::parse("fd96::1"), 53}, Protocol::udp};
  const auto nobody_knows = static_cast<Verdict>(7);
  struct Case {
    CaptureKey key;
    CaptureValue value;
    std::string_view want;
  };
  const Case cases[] = {
      {web, verdicts(carry, carry, carry), "captured 10.96.0.1:80/TCP -> carry"},
      {dns, verdicts(refuse, refuse, refuse, true), "captured [fd96::1]:53/UDP -> refuse, guarded"},
      {web, verdicts(carry, carry, drop),
       "captured 10.96.0.1:80/TCP -> node carry, pods carry, outside drop"},
      {web, verdicts(drop, carry, carry),
       "captured 10.96.0.1:80/TCP -> node drop, pods carry, outside carry"},
      {web, verdicts(carry, refuse, carry, true),
       "captured 10.96.0.1:80/TCP -> node carry, pods refuse, outside carry, guarded"},
      {web, verdicts(nobody_knows, nobody_knows, nobody_knows),
       "captured 10.96.0.1:80/TCP -> unknown"},
      {web, verdicts(carry, nobody_knows, drop),
       "captured 10.96.0.1:80/TCP -> node carry, pods unknown, outside drop"},
      {Admitted{dns, *Cidr::parse("2001:db8::/32")},
       {},
       "admitted 2001:db8::/32 to [fd96::1]:53/UDP"},
      {Vip{*Ip::parse("fd96::1")}, {}, "vip fd96::1"},
      {*Cidr::parse("10.1.0.0/16"), SourceClass::local_pod, "source 10.1.0.0/16 is pods"},
      {*Cidr::parse("10.1.0.0/16"), static_cast<SourceClass>(3), "source 10.1.0.0/16 is unknown"},
  };
  for (const Case& c : cases) EXPECT_EQ(to_text(c.key, c.value), c.want);
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
