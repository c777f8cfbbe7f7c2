// The driver against the kernel's maps, pins and links: what it takes over, what it replaces, what
// it says when something is in the way.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "base/text.h"
#include "dataplane/ebpf/conntrack.h"
#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/link_filters.h"
#include "dataplane/ebpf/map_codec.h"
#include "dataplane/ebpf/map_dump.h"
#include "dataplane/ebpf/object.h"
#include "dataplane/ebpf/service_sync.h"
#include "dataplane/ebpf/tc_filters.h"
#include "dataplane/ebpf/tcx_links.h"
#include "tests/dataplane/ebpf/driver_lab.h"

namespace fairlead::dataplane::test {
namespace {

TEST_F(EbpfDriverTest, MapsOfAnotherSizeAreCopied) {
  Server server(node(), "web", "10.1.0.1", 8080);
  ASSERT_TRUE(start());
  ASSERT_TRUE(apply(web).ok());
  std::string before = driver_->dump();
  options_.max_services = 2000;
  options_.max_conntrack = 4096;
  ASSERT_TRUE(start());
  EXPECT_EQ(ask(lab_->cgroup()), answered) << "before the first table";
  EXPECT_LE(apply(web).writes, 1u);
  EXPECT_EQ(driver_->dump(), before);
  EXPECT_NE(lab_->registry().text().find("fairlead_ebpf_map_capacity{map=\"frontends\"} 2000"),
            std::string::npos);
}

TEST_F(EbpfDriverTest, MapsThatBecomeTooSmallSaySo) {
  options_.max_services = 16;
  ASSERT_TRUE(start());
  std::string many;
  for (int i = 0; i < 20; ++i) many += cat("ns/s", i, " TCP 10.96.1.", i, ":80 -> 10.1.0.1:1\n");
  ApplyReport report = apply(many);
  ASSERT_EQ(report.errors.size(), 4u);
  EXPECT_NE(report.errors[0].find("the frontends map is full (16 entries, --max-services)"),
            std::string::npos)
      << report.errors[0];
  EXPECT_TRUE(apply(web).ok());
}

TEST_F(EbpfDriverTest, ASizeThatIsTooSmallForWhatIsThereChangesNothing) {
  Server server(node(), "web", "10.1.0.1", 8080);
  ASSERT_TRUE(start());
  const std::string two = cat(web, "\na/more TCP 10.96.0.11:80 -> 10.1.0.1:8080");
  ASSERT_TRUE(apply(two).ok());
  const std::string before = driver_->dump();
  options_.max_services = 1;
  const Result<void> started = start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message,
            "the pinned map frontends holds more entries than --max-services allows (1)");
  EXPECT_EQ(ask(lab_->cgroup()), answered) << "by what the last run has left";
  options_.max_services = 2;
  ASSERT_TRUE(start()) << "two are enough";
  EXPECT_TRUE(apply(two).ok());
  EXPECT_EQ(driver_->dump(), before);
}

TEST_F(EbpfDriverTest, TablesThatDoNotFitMeanARandomChoice) {
  Server server(node(), "web", "10.1.0.1", 8080);
  options_.max_maglev = 1;
  ASSERT_TRUE(start());
  const ApplyReport report =
      apply(cat(web, " maglev\nother/web TCP 10.96.0.11:80 -> 10.1.0.1:8080 maglev"));
  ASSERT_EQ(report.errors.size(), 1u);
  EXPECT_EQ(report.errors[0],
            "other/web:p: the maglev map is full (1 entries, --max-maglev); backends are chosen at "
            "random");
  EXPECT_EQ(ask(lab_->cgroup()), answered);
  const auto other = run_in(node(), lab_->cgroup(), [] { return dial({"10.96.0.11", 80}); });
  EXPECT_EQ(other, "web 10.1.0.1 from 10.96.0.11:80");
}

// An older program's pins are imitated by renaming ours.
TEST_F(EbpfDriverTest, AnotherLayoutsProgramsServeUntilTheFirstTable) {
  Server server(node(), "web", "10.1.0.1", 8080);
  ASSERT_TRUE(start());
  ASSERT_TRUE(apply(web).ok());
  driver_.reset();
  std::string home = lab_->bpffs() + "/fairlead";
  ASSERT_EQ(rename((home + cat("/v", int{FL_LAYOUT})).c_str(), (home + "/v0").c_str()), 0);
  ASSERT_TRUE(start());
  EXPECT_EQ(ask(lab_->cgroup()), answered) << "by the old programs and maps";
  EXPECT_FALSE(driver_->retry().ok());
  EXPECT_EQ(access((home + "/v0").c_str(), F_OK), 0);
  ApplyReport report = apply(web);
  EXPECT_TRUE(report.ok()) << report.errors[0];
  EXPECT_EQ(ask(lab_->cgroup()), answered) << "by the new ones";
  EXPECT_NE(access((home + "/v0").c_str(), F_OK), 0);
  EXPECT_TRUE(apply("").ok());
  EXPECT_EQ(ask(lab_->cgroup()), "ENETUNREACH") << "and by them only";
}

// Or one Service too many would keep the node with the maps of before for ever.
TEST_F(EbpfDriverTest, AnotherLayoutsProgramsGoAlthoughNotEverythingFits) {
  Server server(node(), "web", "10.1.0.1", 8080);
  ASSERT_TRUE(start());
  ASSERT_TRUE(apply(web).ok());
  driver_.reset();
  const std::string home = lab_->bpffs() + "/fairlead";
  ASSERT_EQ(rename(cat(home, "/v", int{FL_LAYOUT}).c_str(), (home + "/v0").c_str()), 0);
  options_.max_services = 1;
  ASSERT_TRUE(start());
  const std::string two = cat("a/new TCP 10.96.0.11:80 -> 10.1.0.1:8080\n", web);
  const auto said = [](const ApplyReport& report) { return join(report.errors, "\n"); };
  const std::string full =
      "default/web:p: 10.96.0.10:80/TCP: the frontends map is full (1 entries, --max-services); 0 "
      "of 1 backends are served";
  EXPECT_EQ(said(apply(two)), cat(full, "\nanother layout's programs are still in place"));
  EXPECT_EQ(ask(lab_->cgroup()), answered) << "by the old ones, while there is hope";
  auto scope = net::NetnsScope::enter(node());
  EXPECT_EQ(said(driver_->retry()), full);
  EXPECT_NE(access((home + "/v0").c_str(), F_OK), 0);
  const auto asked = run_in(node(), lab_->cgroup(), [] { return dial({"10.96.0.11", 80}); });
  EXPECT_EQ(asked, "web 10.1.0.1 from 10.96.0.11:80");
}

TEST_F(EbpfDriverTest, MovesToAnotherCgroup) {
  Server server(node(), "web", "10.1.0.1", 8080);
  ASSERT_TRUE(start());
  ASSERT_TRUE(apply(web).ok());
  std::string child = lab_->cgroup() + "/child";
  ASSERT_EQ(mkdir(child.c_str(), 0755), 0);
  options_.cgroup = child;
  ASSERT_TRUE(start());
  EXPECT_EQ(ask(child), answered);
  EXPECT_EQ(ask(lab_->cgroup()), "ENETUNREACH");
  EXPECT_EQ(rmdir(child.c_str()), 0);
}

TEST_F(EbpfDriverTest, FollowsTheInterfaceOptions) {
  ASSERT_TRUE(start());
  EXPECT_TRUE(link_has_tc("pods0"));
  EXPECT_TRUE(link_has_tc("other0"));
  options_.interfaces = {"pods0"};
  ASSERT_TRUE(start());
  EXPECT_TRUE(link_has_tc("pods0"));
  EXPECT_FALSE(link_has_tc("other0"));
  options_.attach_tc = false;
  ASSERT_TRUE(start());
  EXPECT_FALSE(link_has_tc("pods0"));
}

TEST_F(EbpfDriverTest, GoesFromClsactToTcxAndBack) {
  if (!probe_ebpf().tcx) GTEST_SKIP() << "NOT TESTED: this kernel has no tcx";
  for (const bool tcx : {false, true, true, false, true}) {
    options_.tcx = tcx;
    ASSERT_TRUE(start());
    for (const char* link : {"pods0", "other0"}) {
      EXPECT_EQ(carriers(link), tcx ? "tcx" : "clsact");
    }
  }
  options_.attach_tc = false;
  ASSERT_TRUE(start());
  EXPECT_EQ(carriers("pods0"), "");
}

TEST_F(EbpfDriverTest, PinsOfLinksThatWentAwayGoToo) {
  if (!probe_ebpf().tcx) GTEST_SKIP() << "NOT TESTED: this kernel has no tcx";
  ebpf::Pins pins(lab_->bpffs());
  ASSERT_TRUE(start());
  const size_t with_both = pins.links().size();
  auto remove = [&](const char* name) {
    auto scope = net::NetnsScope::enter(node());
    ASSERT_TRUE(net::Netlink::open()->delete_link(name));
    for (int i = 0; i < 20; ++i) lab_->loop().run_once(std::chrono::milliseconds(10));
  };
  remove("other0");
  EXPECT_EQ(pins.links().size(), with_both - 2) << "while the driver looks on";
  driver_.reset();
  remove("pods0");
  EXPECT_EQ(pins.links().size(), with_both - 2);
  ASSERT_TRUE(start());
  EXPECT_EQ(pins.links().size(), with_both - 4) << "while it did not";
}

TEST_F(EbpfDriverTest, TcxProgramsOfAnotherLayoutAreReplacedInPlace) {
  if (!probe_ebpf().tcx) GTEST_SKIP() << "NOT TESTED: this kernel has no tcx";
  ASSERT_TRUE(start());
  driver_.reset();
  const std::string home = lab_->bpffs() + "/fairlead";
  ASSERT_EQ(rename(cat(home, "/v", int{FL_LAYOUT}).c_str(), (home + "/v0").c_str()), 0);
  ASSERT_TRUE(start());
  EXPECT_EQ(carriers("pods0"), "tcx") << "the old ones, until the first table";
  ASSERT_TRUE(apply(web).ok());
  EXPECT_EQ(carriers("pods0"), "tcx");
  EXPECT_NE(access((home + "/v0").c_str(), F_OK), 0);
}

TEST_F(EbpfDriverTest, VerifyMissesOneOfTwoFilters) {
  options_.tcx = false;
  ASSERT_TRUE(start());
  ASSERT_TRUE(apply(web).ok());
  auto scope = net::NetnsScope::enter(node());
  EXPECT_EQ(driver_->verify(false)->size(), 0u);
  const int index = net::Netlink::open()->link("pods0")->index;
  bpf_tc_hook hook{};
  hook.sz = sizeof hook;
  hook.ifindex = index;
  hook.attach_point = BPF_TC_INGRESS;
  bpf_tc_opts filter{};
  filter.sz = sizeof filter;
  filter.handle = 0xfa1;
  filter.priority = 100;
  ASSERT_EQ(bpf_tc_detach(&hook, &filter), 0);
  EXPECT_TRUE(ebpf::has_tc(index)) << "the other one is there";
  const auto drifts = driver_->verify(true);
  ASSERT_TRUE(drifts);
  ASSERT_EQ(drifts->size(), 1u);
  EXPECT_EQ((*drifts)[0], (Drift{"link pods0 lacks a tc program", "another user of tc", true}));
  EXPECT_TRUE(ebpf::has_both_tc(index));
  EXPECT_EQ(driver_->verify(false)->size(), 0u);
}

TEST_F(EbpfDriverTest, SaysWhatIsInTheWay) {
  options_.bpffs = "/nowhere/at/all";
  Result<void> started = start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message, "bpffs /nowhere/at/all: there is no such folder");
  EXPECT_EQ(driver_->apply({}, {}, true).errors.at(0), "the eBPF driver was not started");
  options_ = lab_->options();
  options_.cgroup = "/nowhere";
  started = start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().message, "cgroup /nowhere: No such file or directory");
  options_ = lab_->options();
}

TEST_F(EbpfDriverTest, RefusesPinsOfAnotherShape) {
  ASSERT_TRUE(start());
  driver_.reset();
  std::string path = ebpf::Pins(lab_->bpffs()).map("frontends");
  ASSERT_EQ(unlink(path.c_str()), 0);
  net::Fd strange(bpf_map_create(BPF_MAP_TYPE_HASH, "strange", 4, 4, 8, nullptr));
  ASSERT_EQ(bpf_obj_pin(strange.get(), path.c_str()), 0);
  Result<void> started = start();
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("has another shape"), std::string::npos)
      << started.error().message;
}

TEST_F(EbpfDriverTest, CountsWhatTheProgramsDo) {
  Server server(node(), "web", "10.1.0.1", 8080);
  ASSERT_TRUE(start());
  ASSERT_TRUE(apply(cat(web, "\ndefault/none TCP 10.96.0.11:80 ->")).ok());
  EXPECT_EQ(ask(lab_->cgroup()), answered);
  run_in(node(), lab_->cgroup(), [] { return dial({"10.96.0.11", 80}); });
  driver_->retry();
  std::string metrics = lab_->registry().text();
  for (const char* line :
       {"fairlead_ebpf_translations_total{hook=\"connect\"} 1\n",
        "fairlead_ebpf_translations_total{hook=\"getpeername\"} 1\n",
        "fairlead_ebpf_no_backend_total{hook=\"connect\",outcome=\"reject\"} 1\n",
        "fairlead_ebpf_map_entries{map=\"frontends\"} 2\n",
        "fairlead_ebpf_map_entries{map=\"backends\"} 1\n", "fairlead_ebpf_links 2\n"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << "in\n" << metrics;
  }
}

// The same tables through the kernel and through the fake read the same.
TEST_F(EbpfDriverTest, KernelMapsBehaveAsTheFakeOnes) {
  ebpf::Pins pins(lab_->bpffs());
  ASSERT_TRUE(pins.open());
  auto object = ebpf::Object::load(pins, options_, probe_ebpf());
  ASSERT_TRUE(object) << object.error().message;
  ebpf::KernelMaps kernel((*object)->map_fds());
  ebpf::FakeMaps fake;
  ebpf::ServiceSync on_kernel(kernel), on_fake(fake);
  std::mt19937 random(1);
  for (int step = 0; step < 60; ++step) {
    std::string text;
    for (int s = 0; s < 8; ++s) {
      if (random() % 3 == 0) continue;
      text += cat("ns/s", s, " TCP 10.96.0.", s + 1, ":80,node:", 30000 + s, " -> ");
      std::string backends;
      for (int b = 0; b < 12; ++b) {
        if (random() % 2) backends += cat(backends.empty() ? "" : ",", "10.1.0.", b + 1, ":80");
      }
      text += cat(backends, s % 3 == 0 && !backends.empty() ? " maglev" : "", "\n");
    }
    ServiceTable table = table_of(text);
    EXPECT_EQ(on_kernel.apply(table, {}, true).writes, on_fake.apply(table, {}, true).writes);
    auto name = [&](uint32_t id) { return on_kernel.name_of(id); };
    auto fake_name = [&](uint32_t id) { return on_fake.name_of(id); };
    ASSERT_EQ(ebpf::dump_maps(kernel, name), ebpf::dump_maps(fake, fake_name)) << text;
    if (step % 20 == 19) {
      ebpf::ServiceSync restarted(kernel);
      ASSERT_TRUE(restarted.load());
      EXPECT_EQ(restarted.apply(table, {}, true).writes, 0u);
    }
  }
  std::vector<fl_backend_key> absent(10);
  ebpf::WriteOutcome gone = kernel.erase(ebpf::MapId::backends, ebpf::bytes_of(absent));
  EXPECT_EQ(gone.error, 0);
  EXPECT_EQ(gone.done, 10u) << "what is not there counts as erased";
}

// --- parts ---

TEST(Conntrack, FlowsEndAfterTheirTimeout) {
  struct Case {
    uint8_t protocol;
    uint16_t flags;
    uint32_t timeout;
  };
  const Case cases[] = {
      {6, 0, FL_TIMEOUT_TCP_OPENING},
      {6, FL_NAT_REPLIED, FL_TIMEOUT_TCP},
      {6, FL_NAT_REPLIED | FL_NAT_FIN, FL_TIMEOUT_TCP},
      {6, FL_NAT_REPLIED | FL_NAT_FIN | FL_NAT_PEER_FIN, FL_TIMEOUT_TCP_CLOSED},
      {6, FL_NAT_RST, FL_TIMEOUT_TCP_CLOSED},
      {17, 0, FL_TIMEOUT_UDP_OPENING},
      {17, FL_NAT_REPLIED, FL_TIMEOUT_UDP},
  };
  for (const Case& c : cases) {
    ebpf::FakeMaps maps;
    std::vector<fl_tuple> keys(3);
    std::vector<fl_nat> values(3);
    for (size_t i = 0; i < 3; ++i) {
      keys[i].protocol = c.protocol;
      keys[i].sport = static_cast<uint16_t>(i);
      values[i].flags = c.flags;
      values[i].seen = 1'000'000 - c.timeout - 1 + static_cast<uint32_t>(i);
    }
    values[2].seen = 1'000'001;  // a packet after the clock was read
    maps.update(ebpf::MapId::conntrack, ebpf::bytes_of(keys), ebpf::bytes_of(values));
    ebpf::ConntrackSweep sweep = ebpf::sweep_conntrack(maps, 1'000'000);
    EXPECT_EQ(sweep.removed, 1u) << int{c.protocol} << " " << c.flags;
    EXPECT_EQ(sweep.entries, 2u);
    EXPECT_EQ(maps.size(ebpf::MapId::conntrack), 2u);
  }
}

TEST(LinkFilters, ChooseLinksWithSomethingBehindThem) {
  struct Case {
    net::LinkInfo link;
    std::vector<std::string> names;
    bool wanted;
  };
  const Case cases[] = {
      {{.name = "eth0", .mac = "02:00:00:00:00:01"}, {}, true},
      {{.name = "veth1", .kind = "veth", .mac = "02:00:00:00:00:01"}, {}, true},
      {{.name = "lo", .mac = "00:00:00:00:00:00"}, {}, false},
      {{.name = "cni0", .kind = "bridge", .mac = "02:00:00:00:00:01"}, {}, false},
      {{.name = "vxlan0", .kind = "vxlan", .mac = "02:00:00:00:00:01"}, {}, false},
      {{.name = "tun0"}, {}, false},
      {{.name = "cni0", .kind = "bridge", .mac = "02:00:00:00:00:01"}, {"cni0"}, true},
      {{.name = "eth0", .mac = "02:00:00:00:00:01"}, {"cni0"}, false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(ebpf::wants_tc(c.link, c.names), c.wanted) << c.link.name;
  }
}

TEST(MapCodec, TextOfKeys) {
  using ebpf::to_map;
  using ebpf::to_text;
  Frontend v4{FrontendKind::cluster_ip, *Ip::parse("10.96.0.1"), 443};
  Frontend v6{FrontendKind::cluster_ip, *Ip::parse("fd00::1"), 53};
  Frontend port4{FrontendKind::node_port, Ip::v4(0), 30000};
  Frontend port6{FrontendKind::node_port, Ip{}, 30000};
  EXPECT_EQ(to_text(to_map(v4, Protocol::tcp)), "10.96.0.1:443/TCP");
  EXPECT_EQ(to_text(to_map(v6, Protocol::udp)), "[fd00::1]:53/UDP");
  EXPECT_EQ(to_text(to_map(port4, Protocol::tcp)), "node-port 30000/TCP IPv4");
  EXPECT_EQ(to_text(to_map(port6, Protocol::tcp)), "node-port 30000/TCP IPv6");
  for (const char* cidr : {"10.1.0.0/16", "0.0.0.0/0", "fd00::/48", "::/0", "10.1.2.3/32"}) {
    EXPECT_EQ(to_text(to_map(*Cidr::parse(cidr))), cidr);
  }
  EXPECT_EQ(to_map(*Cidr::parse("10.0.0.0/8")).prefixlen, 104u);
}

}  // namespace
}  // namespace fairlead::dataplane::test
