// The HTTP server over loopback: keep-alive GETs from one client with 32 calls in flight, server
// and client on a thread each. "server_us" is the server thread's CPU time per request.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/log.h"
#include "net/http_client.h"
#include "net/http_server.h"

namespace fairlead::net {
namespace {

enum class Transport { tcp, tls, unix_socket };

double thread_cpu_s() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class ServerThread {
 public:
  explicit ServerThread(Transport transport) {
    thread_ = std::thread([this, transport] { run(transport); });
    ready_.wait(false);
  }
  ~ServerThread() {
    loop_->stop();
    thread_.join();
  }
  double cpu_s() {
    std::atomic<double> cpu = -1;
    loop_->post([&] {
      cpu = thread_cpu_s();
      cpu.notify_one();
    });
    cpu.wait(-1);
    return cpu;
  }
  HttpTarget target;

 private:
  void run(Transport transport) {
    EventLoop loop;
    FdLogSink sink(2);
    HttpServer server(loop, Log(sink), [](HttpRequest, std::unique_ptr<Responder> responder) {
      responder->send(HttpResponse::json(200, std::string(128, 'x')));
    });
    if (transport == Transport::unix_socket) {
      target.unix_path = "/tmp/fairlead-bench-" + std::to_string(::getpid());
      server.listen_unix(target.unix_path).value();
    } else {
      std::shared_ptr<const TlsContext> tls;
      if (transport == Transport::tls) {
        const CertificatePair pair = self_signed({.common_name = "bench"}).value();
        tls = TlsContext::server({.certificate_pem = pair.certificate_pem,
                                  .key_pem = pair.key_pem,
                                  .client_ca_pem = {}})
                  .value();
        target.tls = TlsContext::client({.insecure_skip_verify = true}).value();
      }
      target.host = "127.0.0.1";
      target.port = server.listen({*Ip::parse("127.0.0.1"), 0}, tls).value().port;
    }
    loop_ = &loop;
    ready_ = true;
    ready_.notify_one();
    loop.run();
  }

  std::atomic<bool> ready_ = false;
  EventLoop* loop_ = nullptr;
  std::thread thread_;
};

void BM_HttpServer_KeepAliveGets(benchmark::State& state, Transport transport) {
  ServerThread server(transport);
  EventLoop loop;
  HttpClient client(loop, server.target, {.max_idle_connections = 32});
  constexpr size_t in_flight = 32;
  std::vector<std::unique_ptr<HttpCall>> calls(in_flight);
  int64_t answered = 0;
  std::function<void(size_t)> start = [&](size_t slot) {
    HttpCallbacks callbacks;
    callbacks.on_done = [&, slot](Result<void> outcome) {
      if (!outcome) state.SkipWithError(outcome.error().message.c_str());
      ++answered;
      start(slot);
    };
    calls[slot] = client.call({.target = "/api/v1/namespaces/default/services"}, callbacks);
  };
  for (size_t slot = 0; slot < in_flight; ++slot) start(slot);
  while (answered < 1'000) loop.run_once(std::chrono::milliseconds(10));
  const double cpu_before = server.cpu_s();
  const int64_t before = answered;
  for (auto _ : state) {
    const int64_t goal = answered + 100;
    while (answered < goal) loop.run_once(std::chrono::milliseconds(10));
  }
  const auto count = static_cast<double>(answered - before);
  state.counters["requests/s"] = benchmark::Counter(count, benchmark::Counter::kIsRate);
  state.counters["server_us"] = (server.cpu_s() - cpu_before) * 1e6 / count;
  for (auto& call : calls) call.reset();
}
BENCHMARK_CAPTURE(BM_HttpServer_KeepAliveGets, tcp, Transport::tcp)->UseRealTime();
BENCHMARK_CAPTURE(BM_HttpServer_KeepAliveGets, tls, Transport::tls)->UseRealTime();
BENCHMARK_CAPTURE(BM_HttpServer_KeepAliveGets, unix, Transport::unix_socket)->UseRealTime();

}  // namespace
}  // namespace fairlead::net
