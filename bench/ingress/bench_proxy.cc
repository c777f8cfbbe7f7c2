// The ingress alone, one worker, in front of one endpoint: what against_nginx.sh measures when it
// is asked for the engine without the agent around it.
//   bench_proxy LISTEN ENDPOINT [ACCESS_LOG]
#include <csignal>
#include <cstdio>

#include "ingress/server.h"

int main(int argc, char** argv) {
  using namespace fairlead;  // NOLINT: a program of one function
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_proxy LISTEN ENDPOINT [ACCESS_LOG]\n");
    return 2;
  }
  const auto listen = SocketAddress::parse(argv[1]);
  const auto endpoint = SocketAddress::parse(argv[2]);
  if (!listen || !endpoint) {
    std::fprintf(stderr, "bench_proxy: LISTEN and ENDPOINT are addresses like 127.0.0.1:8080\n");
    return 2;
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);

  FdLogSink sink(2);
  const Log log(sink);
  Registry registry;
  ingress::Config config;
  config.http = {*listen};
  config.https.clear();
  config.workers = 1;
  config.watch_without_class = true;
  if (argc > 3) config.access_log = argv[3];
  auto server = ingress::Server::create(config, log, registry);
  if (!server) {
    std::fprintf(stderr, "bench_proxy: %s\n", server.error().message.c_str());
    return 1;
  }

  api::SnapshotBuilder builder;
  api::Service service;
  service.meta.key = {"default", "web"};
  service.ports.push_back({.name = "http", .port = 80});
  builder.put(std::make_shared<const api::Service>(service));
  api::EndpointSlice slice;
  slice.meta.key = {"default", "web-1"};
  slice.service = "web";
  slice.address_type = "IPv4";
  slice.ports.push_back({.name = "http", .port = endpoint->port});
  slice.endpoints.push_back({.addresses = {endpoint->ip}});
  builder.put(std::make_shared<const api::EndpointSlice>(slice));
  api::Ingress object;
  object.meta.key = {"default", "web"};
  object.default_backend = api::IngressBackend{.service = "web", .port_number = 80};
  builder.put(std::make_shared<const api::Ingress>(object));
  const auto tick = builder.take();
  (*server)->publish(tick.snapshot, tick.changes);

  if (const auto started = (*server)->start(); !started) {
    std::fprintf(stderr, "bench_proxy: %s\n", started.error().message.c_str());
    return 1;
  }
  int signal = 0;
  sigwait(&signals, &signal);
  return 0;
}
