// What a change costs on its way from a watch line to a snapshot.
#include <benchmark/benchmark.h>

#include "api/codec.h"
#include "api/schema.h"
#include "api/snapshot.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr int endpoints_per_slice = 10;

std::string slice_json(int number, int version) {
  std::string endpoints;
  for (int i = 0; i < endpoints_per_slice; ++i) {
    const uint32_t ip = 0x0a000000 + static_cast<uint32_t>(number * endpoints_per_slice + i);
    endpoints += cat(i == 0 ? "" : ",", R"({"addresses":[")", Ip::v4(ip).to_string(),
                     R"("],"conditions":{"ready":true,"serving":true,"terminating":false},)",
                     R"("nodeName":"node-)", i, R"(","targetRef":{"kind":"Pod","name":"pod-)", ip,
                     R"(","namespace":"default"}})");
  }
  return cat(R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"s)",
             number, R"(","namespace":"default","resourceVersion":")", version,
             R"(","labels":{"kubernetes.io/service-name":"svc)", number,
             R"("}},"addressType":"IPv4","ports":[{"name":"http","port":)", 8000 + version % 1000,
             R"(,"protocol":"TCP"}],"endpoints":[)", endpoints, "]}");
}

Object slice(int number, int version) {
  return *decode(Kind::endpoint_slice, *parse_json(slice_json(number, version)));
}

// One changed EndpointSlice among N: put, snapshot, changes.
void BM_Tick_By_Slices(benchmark::State& state) {
  const auto slices = static_cast<int>(state.range(0));
  SnapshotBuilder builder;
  for (int i = 0; i < slices; ++i) builder.put(slice(i, 0));
  auto held = builder.take().snapshot;
  const Object versions[] = {slice(slices / 2, 1), slice(slices / 2, 2)};
  int turn = 0;
  for (auto _ : state) {
    builder.put(versions[++turn % 2]);
    auto tick = builder.take();
    benchmark::DoNotOptimize(tick.changes.services.size());
    held = std::move(tick.snapshot);
  }
}
BENCHMARK(BM_Tick_By_Slices)->Arg(100)->Arg(1000)->Arg(10000);

void BM_Decode_Slice(benchmark::State& state) {
  const std::string text = slice_json(1, 1);
  for (auto _ : state) {
    unsigned char scratch[16 * 1024];
    json::monotonic_resource arena(scratch, sizeof scratch);
    const auto value = parse_json(text, &arena);
    benchmark::DoNotOptimize(decode(Kind::endpoint_slice, *value));
  }
  state.SetBytesProcessed(static_cast<int64_t>(text.size()) * state.iterations());
}
BENCHMARK(BM_Decode_Slice);

void BM_Schema_Load(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Schema::load());
}
BENCHMARK(BM_Schema_Load);

void BM_Schema_Check_Slice(benchmark::State& state) {
  const Schema schema = *Schema::load();
  const json::value document = *parse_json(slice_json(1, 1));
  for (auto _ : state) {
    benchmark::DoNotOptimize(schema.check("discovery.k8s.io/v1", "EndpointSlice", document));
  }
}
BENCHMARK(BM_Schema_Check_Slice);

}  // namespace
}  // namespace fairlead::api
