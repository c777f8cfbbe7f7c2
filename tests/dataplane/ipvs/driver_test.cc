// The IPVS driver over the kernel in memory and, where this machine has one, over the real one: the
// same cases run on both.
#include "dataplane/ipvs/driver.h"

#include <gtest/gtest.h>

#include "tests/dataplane/ipvs/kernel.h"
#include "tests/dataplane/nft_table_contract.h"

namespace fairlead::dataplane {
namespace {

using namespace ipvs;

std::unique_ptr<ContractKernel> fake_kernel() { return std::make_unique<IpvsKernel>(false); }
std::unique_ptr<ContractKernel> real_kernel() { return std::make_unique<IpvsKernel>(true); }

const ContractCase on_fake{.name = "Fake",
                           .make = fake_kernel,
                           .make_fake = fake_kernel,
                           .later_writes = 12,
                           .seeds = 5,
                           .steps = 80};
const ContractCase on_real{.name = "Real",
                           .make = real_kernel,
                           .make_fake = fake_kernel,
                           .missing = missing_ipvs,
                           .later_writes = 12,
                           .seeds = 1,
                           .steps = 30};

INSTANTIATE_TEST_SUITE_P(Kernels, DriverContract, testing::Values(on_fake, on_real), contract_name);
INSTANTIATE_TEST_SUITE_P(Kernels, NftTableContract, testing::Values(on_fake, on_real),
                         contract_name);
INSTANTIATE_TEST_SUITE_P(Kernels, DriverFaults, testing::Values(on_fake), contract_name);

// What is this mode's alone.
class IpvsDriver : public DriverContract {
 protected:
  IpvsKernel& kernel() { return static_cast<IpvsKernel&>(*kernel_); }
};
INSTANTIATE_TEST_SUITE_P(Kernels, IpvsDriver, testing::Values(on_fake, on_real), contract_name);

TEST_P(IpvsDriver, ASmallTableInFull) {
  const auto driver = start();
  EXPECT_EQ(driver->dump(), "");
  const ServiceTable table = big_table(2, 2);
  const ApplyReport report = driver->apply(table, {}, true);
  EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
  EXPECT_EQ(report.services_changed, 2u);
  EXPECT_EQ(driver->dump(), R"(-A -t 10.96.0.0:80 -s rr
-a -t 10.96.0.0:80 -r 10.128.0.0:8080 -m -w 1
-a -t 10.96.0.0:80 -r 10.128.0.1:8080 -m -w 1
-A -t 10.96.0.1:80 -s rr
-a -t 10.96.0.1:80 -r 10.128.0.64:8080 -m -w 1
-a -t 10.96.0.1:80 -r 10.128.0.65:8080 -m -w 1
address 10.96.0.0
address 10.96.0.1
filter4 10.96.0.0 . 6 . 80 : goto open
filter4 10.96.0.1 . 6 . 80 : goto open
hairpin4 10.128.0.0 . 10.128.0.0
hairpin4 10.128.0.64 . 10.128.0.64
masquerade4 10.96.0.0 . 6 . 80 : goto masquerade-by-source
masquerade4 10.96.0.1 . 6 . 80 : goto masquerade-by-source
vips4 10.96.0.0
vips4 10.96.0.1
)");
  EXPECT_EQ(driver->dump(), expected(table));
}

TEST_P(IpvsDriver, ServicesOfOthersAreLeftAlone) {
  const ServiceKey foreign{Ip::v4(0xc0a80909), Protocol::udp, 53};
  ASSERT_TRUE(kernel().table().write(
      {.verb = Verb::add_service, .key = foreign, .settings = {"wlc", 0, 0}}));
  const auto driver = start();
  ASSERT_TRUE(driver->apply(big_table(2, 2), {}, true).ok());
  EXPECT_TRUE(driver->verify(true)->empty());
  ASSERT_TRUE(driver->apply(big_table(1, 1), {}, true).ok());
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(driver->dump(), "-A -u 192.168.9.9:53 -s wlc\n");
}

TEST_P(IpvsDriver, EveryKindOfFrontendAndProtocolHasItsEntries) {
  const auto driver = start();
  ASSERT_TRUE(driver->apply(every_kind_table(), {}, true).ok());
  const std::string dump = driver->dump();
  for (const std::string_view line : {
           "-A -t 10.96.0.1:80 -s rr -p 60\n",
           "-a --sctp-service 10.96.0.1:99 -r 10.2.0.5:99 -m -w 1\n",
           "-a -u 198.51.100.1:53 -r 10.1.0.5:53 -m -w 1\n",
           "-A -t [fd96::1]:80 -s rr -p 60\n",
           "-a -t 192.168.0.1:30080 -r 10.1.0.5:8080 -m -w 1\n",
           "address 198.51.100.1\n",
           "address 2001:db8:1::1\n",
           "filter4 10.96.0.1 . 6 . 80 : goto open\n",
           "filter4 10.96.0.2 . 6 . 80 : goto refuse\n",
           "filter6 2001:db8::80 . 17 . 53 : goto insiders\n",
           "masquerade4 192.168.0.1 . 6 . 30080 : goto masquerade-node\n",
           "guarded4 198.51.100.1 . 6 . 80\n",
           "allowed4 198.51.100.1 . 6 . 80 . 203.0.113.0/24\n",
           "allowed4 198.51.100.1 . 17 . 53 . 198.18.0.9/32\n",
           "allowed6 2001:db8:1::1 . 132 . 99 . 2001:db8:7::/64\n",
           "health 32100\n",
       }) {
    EXPECT_NE(dump.find(line), dump.npos) << line << dump;
  }
  EXPECT_EQ(dump.find("address 192.168.0.1\n"), dump.npos);
  EXPECT_EQ(dump.find("192.168.7.0/24"), dump.npos);  // inside 192.168.0.0/16
}

TEST_P(IpvsDriver, EverySchedulerIsTaken) {
  ServiceTable table = big_table(2, 2);
  table.services.begin()->second.ports[0].algorithm = Algorithm::maglev;
  for (const std::string scheduler :
       {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh", "fo", "ovf"}) {
    const auto driver = kernel().make_driver({.scheduler = scheduler});
    ASSERT_TRUE(driver->start());
    const ApplyReport report = driver->apply(table, {}, true);
    ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    const std::string dump = driver->dump();
    IpvsKernel fake(false);
    const auto reference = fake.make_driver({.scheduler = scheduler});
    ASSERT_TRUE(reference->apply(table, {}, true).ok());
    EXPECT_EQ(dump, reference->dump());
    EXPECT_NE(dump.find("-A -t 10.96.0.0:80 -s mh -b mh-port\n"), dump.npos) << dump;
    EXPECT_NE(dump.find(cat("-A -t 10.96.0.1:80 -s ", scheduler,
                            scheduler == "mh" ? " -b mh-port" : "", "\n")),
              dump.npos)
        << dump;
  }
  EXPECT_EQ(
      kernel().make_driver({.scheduler = "best"})->start().error().message,
      "'best' is no IPVS scheduler: rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh, fo or "
      "ovf");
}

TEST_P(IpvsDriver, EntriesOfAServiceAreThoseOfItsTools) {
  const auto driver = start();
  const ServiceTable table = big_table(2, 1);
  ASSERT_TRUE(driver->apply(table, {}, true).ok());
  EXPECT_EQ(join(driver->kernel_entries({"default", "s1"}), "\n"),
            "ipvsadm -A -t 10.96.0.1:80 -s rr\n"
            "ipvsadm -a -t 10.96.0.1:80 -r 10.128.0.64:8080 -m -w 1\n"
            "nft inet fairlead-ipvs filter4 { 10.96.0.1 . 6 . 80 : goto open }\n"
            "nft inet fairlead-ipvs masquerade4 { 10.96.0.1 . 6 . 80 : goto "
            "masquerade-by-source }");
  EXPECT_TRUE(driver->kernel_entries({"default", "nobody"}).empty());
}

TEST_P(IpvsDriver, RetiredServicesTakeNoNewConnections) {
  const auto driver = start();
  ASSERT_TRUE(driver->apply(big_table(1, 1), {}, true).ok());
  const auto retired = driver->retire();
  ASSERT_TRUE(retired) << retired.error().message;
  EXPECT_NE(driver->dump().find("-w 0\n"), std::string::npos);
  EXPECT_TRUE(driver->drained());
  ASSERT_TRUE(driver->cleanup());
  EXPECT_EQ(driver->dump(), "");
}

// All other modes take new flows before IPVS sees them.
TEST_P(IpvsDriver, OnlyToUserspaceModeNewFlowsArePassedOn) {
  constexpr std::string_view passes = "-a -t 10.96.0.0:80 -r 10.96.0.0:80 -m -w 1\n";
  struct Case {
    std::string_view successor;
    bool stays, passed;
  };
  const Case cases[] = {{"userspace", false, true},
                        {"userspace", true, false},
                        {"nftables", false, false},
                        {"ebpf", false, false}};
  for (const Case& one : cases) {
    SCOPED_TRACE(cat(one.successor, one.stays ? ", of which nothing came" : ""));
    const auto driver = start();
    ASSERT_TRUE(driver->apply(big_table(1, 1), {}, true).ok());
    ASSERT_TRUE(driver->prepare_retire(one.successor));
    if (one.stays) driver->stay();
    ASSERT_TRUE(driver->retire());
    const std::string dump = driver->dump();
    EXPECT_EQ(dump.find(passes) != dump.npos, one.passed) << dump;
    EXPECT_NE(dump.find(" -m -w 0\n"), dump.npos) << dump;
    EXPECT_TRUE(driver->drained());
    if (kernel().fakes().table != nullptr && one.passed) {
      Services& services = kernel().fakes().table->services();
      Destinations& destinations = services.begin()->second.destinations;
      destinations.at({Ip::v4(0x0a600000), 80}).active = 1;
      EXPECT_TRUE(driver->drained()) << "what was passed on is not waited for";
      destinations.at({Ip::v4(0x0a800000), 8080}).active = 1;
      EXPECT_FALSE(driver->drained());
    }
    ASSERT_TRUE(driver->cleanup());
    EXPECT_EQ(driver->dump(), "");
  }
}

}  // namespace
}  // namespace fairlead::dataplane
