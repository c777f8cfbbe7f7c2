// A datagram from anybody: through the whole engine, and, as an upstream's reply, through the
// reader of replies.
#include <cstdlib>

#include "base/check.h"
#include "base/text.h"
#include "dns/engine.h"

namespace fairlead::dns {
namespace {

class NoOrigin final : public Origin {
 public:
  explicit NoOrigin(bool tcp) : tcp_(tcp) {}
  bool tcp() const override { return tcp_; }
  bool ipv6() const override { return false; }
  SocketAddress client() const override { return {}; }
  std::unique_ptr<LateReply> defer() override { std::abort(); }  // nothing is forwarded here

 private:
  bool tcp_;
};

std::shared_ptr<const Indexes> make_indexes() {
  api::SnapshotBuilder builder;
  const auto put = [&](std::string name, bool headless, std::string external) {
    api::Service service;
    service.meta.key = {"default", std::move(name)};
    service.headless = headless;
    service.external_name = std::move(external);
    if (!service.external_name.empty()) service.type = api::ServiceType::external_name;
    if (!headless) service.cluster_ips = {Ip::v4(0x0a000001), *Ip::parse("fd00::1")};
    service.ports = {{.name = "http", .port = 80}};
    builder.put(std::make_shared<const api::Service>(std::move(service)));
  };
  put("web", false, "");
  put("big", true, "");
  put("ext", false, "web.default.svc.cluster.local");
  put("loop", false, "loop.default.svc.cluster.local");
  api::EndpointSlice slice;
  slice.meta.key = {"default", "big-1"};
  slice.service = "big";
  slice.address_type = "IPv4";
  slice.ports = {{.name = "http", .port = 80}};
  for (uint32_t i = 0; i < 100; ++i) {
    slice.endpoints.push_back({.addresses = {Ip::v4(0x0a010000 + i)}});
  }
  builder.put(std::make_shared<const api::EndpointSlice>(std::move(slice)));
  auto indexes = std::make_shared<Indexes>();
  indexes->push_back(ZoneIndex::build(builder.take().snapshot, {}, 1));
  return indexes;
}

struct World {
  FdLogSink sink{2};
  Log log{sink, LogLevel::error};
  Registry registry;
  RealClock clock;
  Plan plan{*parse_corefile(". {\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
                            "  pods insecure\n }\n log x.test\n}\n",
                            "Corefile"),
            {Ip::v4(0x7f000001)}};
  Metrics metrics{registry, plan, 1};
  IndexBoard board;
  ErrorBoard errors;
  Engine engine{Engine::Parts{plan, board, metrics.shard(0), errors, clock, {}}, log};
  World() { board.publish(make_indexes()); }
};

void check(World& world, Bytes packet, bool tcp) {
  const size_t size = tcp ? max_message_bytes : max_udp_bytes;
  const auto out = std::make_unique<uint8_t[]>(size);
  NoOrigin origin(tcp);
  world.engine.begin_batch();
  const size_t written = world.engine.handle(packet, world.plan.sites[0], origin, out.get());
  world.engine.end_batch();
  CHECK(written <= size);
  if (written == 0) return;
  // What is sent is always a whole message that answers this request.
  const auto reply = MessageView::parse({out.get(), written});
  CHECK(reply.has_value());
  CHECK((reply->flags() & flag::qr) != 0);
  CHECK(reply->id() == read16(packet.data()));
  std::string name;
  reply->each_record(
      [&](const RecordView& record) { CHECK(read_name(reply->bytes(), record.owner, name)); });
}

}  // namespace
}  // namespace fairlead::dns

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::dns;
  static World* const world = new World;
  const Bytes bytes(data, size);
  check(*world, bytes, false);
  check(*world, bytes, true);
  std::string name;
  if (const auto view = MessageView::parse(bytes)) {
    view->each_record([&](const RecordView& record) { read_name(bytes, record.owner, name); });
    if (size >= header_bytes + 5) (void)check_reply(bytes, bytes);
  }
  return 0;
}
