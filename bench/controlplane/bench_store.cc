// Durable writes of the control plane's store on a real disk: one at a time, and with 16 writers
// whose commits are grouped. The ratio of the two is the figure; both pay the same fsync.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/text.h"
#include "controlplane/store.h"

namespace fairlead::controlplane {
namespace {

json::value service(int number) {
  std::string name = cat("svc-", number);
  json::object ports{{"name", "http"}, {"port", 80}, {"targetPort", 8080}, {"protocol", "TCP"}};
  json::array list;
  list.push_back(std::move(ports));
  return json::object{{"apiVersion", "v1"},
                      {"kind", "Service"},
                      {"metadata", json::object{{"name", name},
                                                {"namespace", "default"},
                                                {"uid", "12345678-1234-4123-8123-123456789abc"},
                                                {"labels", json::object{{"app", name}}}}},
                      {"spec", json::object{{"type", "ClusterIP"},
                                            {"clusterIP", "10.96.0.10"},
                                            {"selector", json::object{{"app", name}}},
                                            {"ports", std::move(list)}}}};
}

void BM_Write_ByWriters(benchmark::State& state) {
  std::string folder = (std::filesystem::temp_directory_path() / "fairlead-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return state.SkipWithError("no temporary folder");
  {
    net::EventLoop loop;
    ResourceTable resources;
    FdLogSink sink(2);
    Registry registry;
    Store store(loop, resources, open_sqlite_log(folder + "/store.db").value(), Log(sink), registry,
                {});
    if (!store.load([](const StoreEvent&) {})) return state.SkipWithError("cannot load");
    const Resource& row = *resources.find("", "v1", "services");
    const auto writers = static_cast<size_t>(state.range(0));
    int next = 0;
    int64_t done = 0;
    for (auto _ : state) {
      // Each writer has one write in flight; the next one starts when it is acknowledged.
      const int64_t goal = done + 1;
      while (store.pending() < writers)
        store.put(row, 0, service(next++), [&done](const Result<ObjectPtr>&) { ++done; });
      while (done < goal) loop.run_once(std::chrono::milliseconds(100));
    }
    while (store.pending() > 0) loop.run_once(std::chrono::milliseconds(100));
    state.counters["durable"] =
        benchmark::Counter(static_cast<double>(done), benchmark::Counter::kIsRate);
  }
  std::filesystem::remove_all(folder);
}
BENCHMARK(BM_Write_ByWriters)->Arg(1)->Arg(16)->Arg(64)->UseRealTime()->MinTime(2);

}  // namespace
}  // namespace fairlead::controlplane
