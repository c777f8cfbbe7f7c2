// Which addresses stand on the dummy interface, over a node in memory.
#include "dataplane/ipvs/address_sync.h"

#include <gtest/gtest.h>

#include "dataplane/ipvs/fake_host.h"

namespace fairlead::dataplane::ipvs {
namespace {

const Ip first = Ip::v4(0x0a600001), second = *Ip::parse("fd96::2");

class IpvsAddressSync : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(sync_.load()); }

  // How many were written.
  size_t flush() {
    size_t writes = 0;
    for (const Ip& ip : sync_.take_dirty()) {
      const auto written = sync_.sync(ip);
      EXPECT_TRUE(written) << written.error().message;
      writes += written && *written;
    }
    EXPECT_EQ(sync_.held(), host_.state().device);
    EXPECT_EQ(sync_.wanted(), host_.state().device);
    return writes;
  }

  FakeHost host_;
  std::set<Ip> kept_;
  AddressSync sync_{"vips", host_, [this](const Ip& ip) { return kept_.contains(ip); }};
};

TEST_F(IpvsAddressSync, AnAddressStandsAsLongAsItHasUsers) {
  EXPECT_EQ(host_.device(), "vips");
  sync_.add_user(first);
  sync_.add_user(first);
  sync_.add_user(second);
  EXPECT_EQ(flush(), 2u);
  sync_.remove_user(first);
  EXPECT_EQ(flush(), 0u);
  sync_.remove_user(first);
  EXPECT_EQ(flush(), 1u);
  EXPECT_EQ(host_.state().device, std::set<Ip>{second});
}

TEST_F(IpvsAddressSync, WhatIsKeptStaysButDoesNotCome) {
  kept_ = {first, second};
  sync_.add_user(first);
  EXPECT_EQ(flush(), 1u);
  sync_.remove_user(first);
  sync_.look_at(second);
  EXPECT_EQ(flush(), 0u);
  EXPECT_EQ(sync_.held(), std::set<Ip>{first});
  kept_.clear();
  sync_.look_at(first);
  EXPECT_EQ(flush(), 1u);
}

TEST_F(IpvsAddressSync, WhatStandsElsewhereIsLeftThere) {
  host_.state().elsewhere = {first};
  host_.state().device = {first, second};  // as somebody left them
  ASSERT_TRUE(sync_.load());
  sync_.add_user(first);
  EXPECT_EQ(flush(), 2u);
  EXPECT_TRUE(host_.state().device.empty());
}

TEST_F(IpvsAddressSync, ARefusedOneIsStillToBeWritten) {
  sync_.add_user(first);
  host_.fail_after(0);
  EXPECT_FALSE(sync_.sync(first));
  EXPECT_TRUE(sync_.held().empty());
  EXPECT_EQ(flush(), 1u);
  ASSERT_TRUE(sync_.remove_device());
  EXPECT_TRUE(sync_.held().empty());
  EXPECT_EQ(host_.device(), "");
}

}  // namespace
}  // namespace fairlead::dataplane::ipvs
