// parse + answer + encode of one query, without sockets, in a cluster of 10,000 Services.
#include <benchmark/benchmark.h>

#include "base/text.h"
#include "dns/engine.h"

namespace fairlead::dns {
namespace {

constexpr int services = 10'000;
constexpr int headless_endpoints = 50;

class NoOrigin final : public Origin {
 public:
  bool tcp() const override { return false; }
  bool ipv6() const override { return false; }
  SocketAddress client() const override { return {}; }
  std::unique_ptr<LateReply> defer() override { return nullptr; }
};

api::EndpointSlice slice_of(const std::string& service, uint32_t first, int count) {
  api::EndpointSlice slice;
  slice.meta.key = {"default", service + "-1"};
  slice.service = service;
  slice.address_type = "IPv4";
  slice.ports = {{.name = "http", .port = 8080}};
  for (int i = 0; i < count; ++i) {
    slice.endpoints.push_back({.addresses = {Ip::v4(first + static_cast<uint32_t>(i))}});
  }
  return slice;
}

void fill(api::SnapshotBuilder& builder) {
  for (int i = 0; i < services; ++i) {
    api::Service service;
    service.meta.key = {"default", cat("svc-", i)};
    service.headless = i == 0;
    if (i != 0) service.cluster_ips = {Ip::v4(0x0a000000 + static_cast<uint32_t>(i))};
    service.ports = {{.name = "http", .port = 80}};
    const std::string name = service.meta.key.name;
    builder.put(std::make_shared<const api::Service>(std::move(service)));
    builder.put(std::make_shared<const api::EndpointSlice>(slice_of(
        name, 0x0b000000 + static_cast<uint32_t>(i) * 64, i == 0 ? headless_endpoints : 5)));
  }
}

struct World {
  FdLogSink sink{2};
  Log log{sink, LogLevel::error};
  Registry registry;
  RealClock clock;
  Plan plan{*parse_corefile(". {\n kubernetes cluster.local in-addr.arpa\n}\n", "Corefile"), {}};
  Metrics metrics{registry, plan, 1};
  IndexBoard board;
  ErrorBoard errors;
  Engine engine{Engine::Parts{plan, board, metrics.shard(0), errors, clock, {}}, log};
  World() {
    api::SnapshotBuilder builder;
    fill(builder);
    auto indexes = std::make_shared<Indexes>();
    indexes->push_back(ZoneIndex::build(builder.take().snapshot, {}, 1));
    board.publish(std::move(indexes));
    engine.begin_batch();
  }
};

World& world() {
  static World* const shared = new World;
  return *shared;
}

std::vector<uint8_t> query(std::string_view name, uint16_t type) {
  const std::string wire = *name_to_wire(name);
  std::vector<uint8_t> out(header_bytes + wire.size() + 4 + opt_bytes);
  write16(out.data() + 2, flag::rd);
  write16(out.data() + 4, 1);
  write16(out.data() + 10, 1);
  std::copy(wire.begin(), wire.end(), out.begin() + header_bytes);
  uint8_t* end = out.data() + header_bytes + wire.size();
  write16(end, type);
  write16(end + 2, klass::in);
  write16(end + 5, type::opt);
  write16(end + 7, max_udp_bytes);
  return out;
}

// One query for each of many names, in turn, so that the index is not all in the cache.
void run(benchmark::State& state, std::string_view before, std::string_view after, uint16_t type,
         int names) {
  World& w = world();
  std::vector<std::vector<uint8_t>> queries;
  for (int i = 0; i < names; ++i) {
    queries.push_back(query(cat(before, (i * 7919) % services, after), type));
  }
  NoOrigin origin;
  uint8_t out[max_udp_bytes];
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(w.engine.handle(queries[next], w.plan.sites[0], origin, out));
    if (++next == queries.size()) next = 0;
  }
  state.SetItemsProcessed(state.iterations());
}

constexpr std::string_view zone = ".default.svc.cluster.local.";

void BM_Query_By_A(benchmark::State& state) { run(state, "svc-", zone, type::a, 8192); }
void BM_Query_By_NameError(benchmark::State& state) { run(state, "none-", zone, type::a, 8192); }
void BM_Query_By_NoData(benchmark::State& state) { run(state, "svc-", zone, type::aaaa, 8192); }
void BM_Query_By_Srv(benchmark::State& state) {
  run(state, "_http._tcp.svc-", zone, type::srv, 8192);
}
void BM_Query_By_Headless50(benchmark::State& state) { run(state, "svc-", zone, type::a, 1); }
BENCHMARK(BM_Query_By_A);
BENCHMARK(BM_Query_By_NameError);
BENCHMARK(BM_Query_By_NoData);
BENCHMARK(BM_Query_By_Srv);
BENCHMARK(BM_Query_By_Headless50);

// One endpoint changes in a cluster of 10,000 Services: the next index.
void BM_Index_By_OneEndpointChange(benchmark::State& state) {
  api::SnapshotBuilder builder;
  fill(builder);
  auto tick = builder.take();
  auto index = ZoneIndex::build(tick.snapshot, {}, 1);
  uint32_t turn = 0;
  for (auto _ : state) {
    state.PauseTiming();
    builder.put(std::make_shared<const api::EndpointSlice>(
        slice_of("svc-77", 0x0c000000 + (turn++ % 2), 5)));
    tick = builder.take();
    state.ResumeTiming();
    index = index->update(tick.snapshot, tick.changes, 1);
  }
}
BENCHMARK(BM_Index_By_OneEndpointChange);

}  // namespace
}  // namespace fairlead::dns
