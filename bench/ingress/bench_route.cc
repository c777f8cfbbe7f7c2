// Costs inside the ingress: a look-up, one edit among ten thousand routes, a head parsed and
// checked, a head written.
#include <benchmark/benchmark.h>

#include "base/text.h"
#include "ingress/body_framer.h"
#include "ingress/framing_guard.h"
#include "ingress/head_parser.h"
#include "ingress/head_writer.h"
#include "ingress/route_builder.h"

namespace fairlead::ingress {
namespace {

void put_ingress(api::SnapshotBuilder& builder, int64_t number, const std::string& path) {
  api::Ingress ingress;
  ingress.meta.key = {"default", cat("ingress-", number)};
  ingress.class_name = "fairlead";
  api::IngressRule rule{.host = cat("host-", number, ".example.com"), .has_http = true};
  for (const std::string& each : {std::string("/"), std::string("/api"), path}) {
    api::IngressPath entry{.path = each, .type = api::PathType::prefix};
    entry.backend = {.service = cat("service-", number % 1000), .port_number = 80};
    rule.paths.push_back(entry);
  }
  ingress.rules.push_back(rule);
  builder.put(std::make_shared<const api::Ingress>(ingress));
}

void fill(api::SnapshotBuilder& builder, int64_t hosts) {
  api::IngressClass ingress_class;
  ingress_class.meta.key = {"", "fairlead"};
  ingress_class.controller = "fairlead.io/ingress";
  builder.put(std::make_shared<const api::IngressClass>(ingress_class));
  for (int64_t i = 0; i < std::min<int64_t>(hosts, 1000); ++i) {
    api::Service service;
    service.meta.key = {"default", cat("service-", i)};
    service.ports.push_back({.name = "http", .port = 80});
    builder.put(std::make_shared<const api::Service>(service));
    api::EndpointSlice slice;
    slice.meta.key = {"default", cat("service-", i, "-a")};
    slice.service = service.meta.key.name;
    slice.address_type = "IPv4";
    slice.ports.push_back({.name = "http", .port = 8080});
    slice.endpoints.push_back({.addresses = {Ip::v4(0x0a000000U + static_cast<uint32_t>(i))}});
    builder.put(std::make_shared<const api::EndpointSlice>(slice));
  }
  for (int64_t i = 0; i < hosts; ++i) put_ingress(builder, i, "/static");
}

void BM_Lookup_ByHosts(benchmark::State& state) {
  api::SnapshotBuilder builder;
  fill(builder, state.range(0));
  RouteBuilder routes({.controller = "fairlead.io/ingress"});
  const auto tick = builder.take();
  const auto table = routes.update(*tick.snapshot, tick.changes);
  std::vector<std::string> hosts;
  for (int64_t i = 0; i < 64; ++i) {
    hosts.push_back(cat("host-", i * 7919 % state.range(0), ".example.com"));
  }
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table->match(hosts[i++ % hosts.size()], "/api/v1/things/42"));
  }
}
BENCHMARK(BM_Lookup_ByHosts)->Arg(1)->Arg(1000)->Arg(10'000);

void BM_Lookup_ByPathsOfOneHost(benchmark::State& state) {
  std::vector<Route> list;
  const auto owner = std::make_shared<const RouteOwner>();
  for (int64_t i = 0; i < state.range(0); ++i) {
    list.push_back({.path = cat("/section-", i % 100, "/page-", i), .owner = owner});
  }
  const HostRoutes routes(std::move(list), std::nullopt);
  for (auto _ : state) benchmark::DoNotOptimize(routes.match("/section-42/page-42/a/b/c?d"));
}
BENCHMARK(BM_Lookup_ByPathsOfOneHost)->Arg(10)->Arg(10'000);

void BM_RouteEdit_ByHosts(benchmark::State& state) {
  api::SnapshotBuilder builder;
  fill(builder, state.range(0));
  RouteBuilder routes({.controller = "fairlead.io/ingress"});
  auto tick = builder.take();
  auto table = routes.update(*tick.snapshot, tick.changes);
  int64_t edit = 0;
  for (auto _ : state) {
    state.PauseTiming();
    put_ingress(builder, edit * 31 % state.range(0), cat("/edit-", edit));
    ++edit;
    tick = builder.take();
    state.ResumeTiming();
    table = routes.update(*tick.snapshot, tick.changes);
  }
}
BENCHMARK(BM_RouteEdit_ByHosts)->Arg(100)->Arg(10'000)->Unit(benchmark::kMicrosecond);

void BM_EndpointChange_ByHosts(benchmark::State& state) {
  api::SnapshotBuilder builder;
  fill(builder, state.range(0));
  RouteBuilder routes({.controller = "fairlead.io/ingress"});
  auto tick = builder.take();
  auto table = routes.update(*tick.snapshot, tick.changes);
  uint32_t edit = 0;
  for (auto _ : state) {
    state.PauseTiming();
    api::EndpointSlice slice;
    slice.meta.key = {"default", "service-7-a"};
    slice.service = "service-7";
    slice.address_type = "IPv4";
    slice.ports.push_back({.name = "http", .port = 8080});
    slice.endpoints.push_back({.addresses = {Ip::v4(0x0b000000U + edit++)}});
    builder.put(std::make_shared<const api::EndpointSlice>(slice));
    tick = builder.take();
    state.ResumeTiming();
    table = routes.update(*tick.snapshot, tick.changes);
  }
}
BENCHMARK(BM_EndpointChange_ByHosts)->Arg(100)->Arg(10'000)->Unit(benchmark::kMicrosecond);

void BM_FullBuild_ByHosts(benchmark::State& state) {
  api::SnapshotBuilder builder;
  fill(builder, state.range(0));
  const auto tick = builder.take();
  for (auto _ : state) {
    RouteBuilder routes({.controller = "fairlead.io/ingress"});
    benchmark::DoNotOptimize(routes.update(*tick.snapshot, tick.changes));
  }
}
BENCHMARK(BM_FullBuild_ByHosts)->Arg(10'000)->Unit(benchmark::kMillisecond);

constexpr std::string_view request =
    "GET /api/v1/namespaces/default/pods?limit=500 HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.5\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: session=0123456789abcdef; theme=dark\r\n"
    "Referer: https://shop.example.com/\r\n"
    "Cache-Control: no-cache\r\n\r\n";

void BM_Head_ParsedAndGuarded(benchmark::State& state) {
  RequestHead head;
  RequestFacts facts;
  const Limits limits;
  for (auto _ : state) {
    HeadScanner scanner;
    scanner.scan(request, limits);
    parse_request_head(request.substr(0, scanner.head_bytes()), head);
    benchmark::DoNotOptimize(check_request(head, facts));
  }
}
BENCHMARK(BM_Head_ParsedAndGuarded);

void BM_Head_Written(benchmark::State& state) {
  RequestHead head;
  RequestFacts facts;
  parse_request_head(request, head);
  check_request(head, facts);
  const ClientFacts client{.address = "192.0.2.1",
                           .real = "192.0.2.1",
                           .request_id = "0123456789abcdef0123456789abcdef",
                           .port = 80};
  std::vector<char> out(8192);
  for (auto _ : state) {
    benchmark::DoNotOptimize(write_request_head(head, facts, client, out));
  }
}
BENCHMARK(BM_Head_Written);

void BM_Chunks_ByChunkBytes(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  std::string text;
  while (text.size() < 64 * 1024) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%zx\r\n", size);
    text += cat(digits, std::string(size, 'x'), "\r\n");
  }
  for (auto _ : state) {
    BodyFramer framer({.kind = BodyFraming::Kind::chunked});
    benchmark::DoNotOptimize(framer.feed(text.data(), text.size(), text.data()));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) *
                          static_cast<int64_t>(text.size()));
}
BENCHMARK(BM_Chunks_ByChunkBytes)->Arg(64)->Arg(8192);

}  // namespace
}  // namespace fairlead::ingress
