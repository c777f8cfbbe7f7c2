// A kernel for tests of the userspace driver: a fake one, or the one below in a namespace of its
// own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/userspace/driver.h"
#include "dataplane/userspace/fake_kernel.h"
#include "net/netlink.h"
#include "tests/dataplane/contract_kernel.h"

namespace fairlead::dataplane::userspace {

// Has the addresses of random_node().
class UserspaceKernel final : public ContractKernel {
 public:
  explicit UserspaceKernel(bool real) {
    const std::vector<Ip> addresses = random_node().node_ips;
    fake_.addresses.insert(addresses.begin(), addresses.end());
    if (!real) {
      routes_ = make_fake_routes(fake_);
      return;
    }
    netns_ = std::make_unique<FreshNetns>();
    auto netlink = *net::Netlink::open();
    EXPECT_TRUE(netlink.add_veth("d0", "d1"));
    EXPECT_TRUE(netlink.set_up("d1"));
    EXPECT_TRUE(netlink.set_up("d0"));
    for (const Ip& ip : addresses) {
      EXPECT_TRUE(netlink.add_address("d0", ip, ip.is_v4() ? 24 : 64));
    }
    routes_ = make_kernel_routes();
    EXPECT_TRUE(routes_->open());
  }

  std::unique_ptr<Driver> make_driver() override { return make_driver({}); }
  std::unique_ptr<Driver> make_driver(const UserspaceOptions& options) {
    auto capture = netns_ ? make_kernel_capture(options.max_captured) : make_fake_capture(fake_);
    capture_ = capture.get();
    return make_userspace_driver(
        options, Log(sink_), registry_,
        {std::move(capture), netns_ ? make_kernel_routes() : make_fake_routes(fake_),
         std::make_unique<RealClock>()});
  }

  std::vector<Damage> damages() override;
  std::vector<FailsOnce*> doors() override {
    if (netns_) return {};
    return {&fake_.capture_door, &fake_.routes_door};
  }

  FakeKernel& fake() { return fake_; }
  Capture& capture() { return *capture_; }  // of the driver that was made last
  LocalRoutes& routes() { return *routes_; }

 private:
  std::unique_ptr<FreshNetns> netns_;  // none: in memory
  FakeKernel fake_;
  Capture* capture_ = nullptr;
  std::unique_ptr<LocalRoutes> routes_;
};

inline std::vector<ContractKernel::Damage> UserspaceKernel::damages() {
  const FlowKey key{{Ip::v4(0x0a600001), 80}, Protocol::tcp};
  const FlowKey stranger{{Ip::v4(0x01020304), 5}, Protocol::udp};
  const Cidr pods = *Cidr::parse("10.1.0.0/16");
  const auto set = [this](CaptureKey at, CaptureValue value) {
    return [=, this] { return capture_->set(at, value); };
  };
  const auto erase = [this](CaptureKey at) { return [=, this] { return capture_->erase(at); }; };
  Verdicts refused;
  refused.by_source.fill(Verdict::refuse);
  return {
      {erase(key), "captured 10.96.0.1:80/TCP is missing"},
      {set(key, refused),
       "captured 10.96.0.1:80/TCP -> refuse, not as in captured 10.96.0.1:80/TCP -> carry"},
      {set(stranger, Verdicts{}), "captured 1.2.3.4:5/UDP belongs to no Service"},
      {set(Admitted{key, pods}, {}),
       "admitted 10.1.0.0/16 to 10.96.0.1:80/TCP belongs to no Service"},
      {erase(Vip{key.to.ip}), "vip 10.96.0.1 is missing"},
      {set(Vip{stranger.to.ip}, {}), "vip 1.2.3.4 belongs to no Service"},
      {erase(pods), "source 10.1.0.0/16 is missing"},
      {set(pods, SourceClass::outside),
       "source 10.1.0.0/16 is outside, not as in source 10.1.0.0/16 is pods"},
      {[this] {
         capture_->detach();
         return Result<void>();
       },
       "the sk_lookup program is not attached"},
      {[this, key] { return routes_->remove(key.to.ip); },
       "route local 10.96.0.1 src 192.168.0.1 is missing"},
      {[this, stranger] { return routes_->add(stranger.to.ip, {}); },
       "route local 1.2.3.4 belongs to no Service"},
  };
}

}  // namespace fairlead::dataplane::userspace
