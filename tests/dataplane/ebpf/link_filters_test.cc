// LinkFilters while links come and go.
#include "dataplane/ebpf/link_filters.h"

#include <functional>

#include "dataplane/ebpf/object.h"
#include "tests/dataplane/ebpf/driver_lab.h"

namespace fairlead::dataplane::test {
namespace {

// Does something when the first line is written.
class OnceSink final : public LogSink {
 public:
  explicit OnceSink(std::function<void(std::string_view line)> first) : first_(std::move(first)) {}
  void write(LogLevel, std::string_view line) override {
    if (first_) std::exchange(first_, nullptr)(line);
  }

 private:
  std::function<void(std::string_view line)> first_;
};

// A node with many pods takes a while to attach to all of their links.
TEST_F(EbpfDriverTest, ALinkThatGoesWhileOthersAreAttachedLeavesNoError) {
  ebpf::Pins pins(lab_->bpffs());
  ASSERT_TRUE(pins.open());
  const EbpfSupport support = probe_ebpf();
  auto object = ebpf::Object::load(pins, options_, support);
  ASSERT_TRUE(object) << object.error().message;
  auto scope = net::NetnsScope::enter(node());
  OnceSink sink([](std::string_view line) {
    const char* other = line.contains("pods0") ? "other0" : "pods0";
    EXPECT_TRUE(net::Netlink::open()->delete_link(other)) << line;
  });
  ebpf::LinkFilters links({}, support.tcx ? ebpf::TcKind::tcx : ebpf::TcKind::clsact,
                          (*object)->program_fd("tc_ingress"), (*object)->program_fd("tc_egress"),
                          pins, Log(sink, LogLevel::debug));
  ASSERT_TRUE(links.start(lab_->loop()));
  EXPECT_EQ(links.attached(), 1u);
  EXPECT_EQ(links.errors().size(), 1u) << "its end has not been heard of yet";
  for (int i = 0; i < 20; ++i) lab_->loop().run_once(std::chrono::milliseconds(10));
  EXPECT_EQ(links.attached(), 1u);
  EXPECT_EQ(links.errors(), std::vector<std::string>{});
  EXPECT_EQ(links.without_programs()->size(), 0u);
}

}  // namespace
}  // namespace fairlead::dataplane::test
