// A node with two links, and a driver on it that starts and stops.
#pragma once

#include <memory>
#include <string>

#include "base/text.h"
#include "dataplane/ebpf/link_filters.h"
#include "dataplane/ebpf/tc_filters.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::test {

inline constexpr const char* web = "default/web TCP 10.96.0.10:80 -> 10.1.0.1:8080";

class EbpfDriverTest : public testing::Test {
 protected:
  void SetUp() override {
    REQUIRE_BPF();
    lab_ = std::make_unique<Lab>();
    lab_->link("node", "pods0", {"10.1.0.1/24"}, "pod", "eth0", {"10.1.0.2/24"});
    lab_->link("node", "other0", {"10.2.0.1/24"}, "other", "eth0", {"10.2.0.2/24"});
    options_ = lab_->options();
  }
  void TearDown() override {
    if (!lab_) return;
    auto scope = net::NetnsScope::enter(node());
    if (!driver_) driver_ = lab_->driver(options_);
    EXPECT_TRUE(driver_->cleanup());
  }

  const net::Netns& node() { return lab_->netns("node"); }
  Result<void> start() {
    auto scope = net::NetnsScope::enter(node());
    driver_.reset();
    driver_ = lab_->driver(options_);
    return driver_->start();
  }
  ApplyReport apply(const std::string& text) {
    auto scope = net::NetnsScope::enter(node());
    return driver_->apply(table_of(text), {}, true);
  }
  std::string ask(const std::string& cgroup) {
    return run_in(node(), cgroup, [] { return dial({"10.96.0.10", 80}); });
  }
  bool link_has_tc(const std::string& name) { return carriers(name) != ""; }
  // By what the tc programs sit on the link, and how often when not once: "clsact", "tcx 2".
  std::string carriers(const std::string& name) {
    auto scope = net::NetnsScope::enter(node());
    const int index = net::Netlink::open()->link(name)->index;
    const int ingress = ebpf::count_tcx(index, true, "tc_ingress"),
              egress = ebpf::count_tcx(index, false, "tc_egress");
    std::string text = ebpf::has_tc(index) ? "clsact" : "";
    if (ingress != egress) return cat(text, "tcx uneven");
    if (ingress == 0) return text;
    return cat(text, "tcx", ingress == 1 ? std::string() : cat(" ", ingress));
  }

  std::unique_ptr<Lab> lab_;
  EbpfOptions options_;
  std::unique_ptr<Driver> driver_;
};

inline constexpr const char* answered = "web 10.1.0.1 from 10.96.0.10:80";

}  // namespace fairlead::dataplane::test
