// A whole lab on a fake host, whose server is the true control plane and whose agents only say that
// they are ready: what is registered, and what becomes of it with other options.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "agent/option.h"
#include "cli/api_client.h"
#include "cli/lab/lab.h"
#include "controlplane/server.h"
#include "net/http_server.h"

namespace fairlead::cli {
namespace {

std::string flag(const ProcessSpec& spec, std::string_view name) {
  const auto found = std::ranges::find(spec.argv, name);
  return found == spec.argv.end() ? "" : *std::next(found);
}

// Answers 200 to everybody.
class ReadyAgent {
 public:
  explicit ReadyAgent(const std::string& socket) {
    EXPECT_TRUE(server_.listen_unix(socket));
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~ReadyAgent() {
    loop_.stop();
    thread_.join();
  }

 private:
  MemoryLogSink sink_;
  net::EventLoop loop_;
  net::HttpServer server_{loop_, Log(sink_), [](const auto&, const auto& responder) {
                            responder->send(net::HttpResponse::text(200, "ok\n"));
                          }};
  std::thread thread_;
};

// Namespaces and cgroups are the fake host's; the sockets of processes are there.
class StagedHost final : public LabHost {
 public:
  Result<void> apply(const LabStep& step) override { return fake.apply(step); }
  std::vector<std::string> namespaces(std::string_view prefix) override {
    return fake.namespaces(prefix);
  }
  Result<void> remove_namespace(const std::string& name) override {
    return fake.remove_namespace(name);
  }
  Result<void> make_cgroup(const std::string& path) override { return fake.make_cgroup(path); }
  Result<void> remove_cgroups(const std::string& path) override {
    return fake.remove_cgroups(path);
  }
  Result<ProcessId> spawn(const ProcessSpec& spec) override {
    FL_TRY(const ProcessId process, fake.spawn(spec));
    if (spec.name == "server") {
      server_pid_ = process.pid;
      FL_TRY_VOID(start_server(spec));
    }
    if (spec.name.starts_with("node")) {
      agents_[process.pid] = std::make_unique<ReadyAgent>(flag(spec, "--socket"));
    }
    return process;
  }
  bool alive(const ProcessId& process) override { return fake.alive(process); }
  Result<void> end(const ProcessId& process, int signal, int wait_ms) override {
    if (process.pid == server_pid_) server_.reset();
    agents_.erase(process.pid);
    return fake.end(process, signal, wait_ms);
  }

  FakeLabHost fake;

 private:
  Result<void> start_server(const ProcessSpec& spec) {
    controlplane::Config config;
    config.data_dir = flag(spec, "--data-dir");
    config.listen = {Ip::v4(0x7f000001), 0};
    config.unix_socket = flag(spec, "--unix-socket");
    FL_TRY_VOID(agent::parse_setting(flag(spec, "--service-cidrs"), config.service_cidrs));
    server_ = std::make_unique<controlplane::Server>(config, Log(sink_), registry_);
    return server_->start();
  }
  MemoryLogSink sink_;
  Registry registry_;
  std::map<int, std::unique_ptr<ReadyAgent>> agents_;
  std::unique_ptr<controlplane::Server> server_;
  int server_pid_ = 0;
};

class WholeLab : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-lab-up-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    options_.directory = name;
    options_.name = "t";
  }
  void TearDown() override {
    ASSERT_TRUE(lab_.down(options_.directory, "t"));
    std::filesystem::remove_all(options_.directory);
  }
  ApiClient api() const {
    net::HttpTarget target;
    target.unix_path = options_.directory + "/t/api.sock";
    return ApiClient(std::move(target));
  }
  std::string names_of(api::Kind kind) const {
    std::vector<std::string> out;
    const auto items = api().list(api::info(kind), "");
    if (!items) return items.error().message;
    for (const auto& item : *items) out.emplace_back(find_string(item, "metadata", "name"));
    std::ranges::sort(out);
    return join(out, " ");
  }
  LabState state() const { return *load_lab_state(options_.directory, "t"); }
  size_t spawns(std::string_view name) const {
    return static_cast<size_t>(std::ranges::count_if(host_.fake.calls, [&](const auto& call) {
      return call.starts_with(cat("spawn ", name, ' '));
    }));
  }

  StagedHost host_;
  std::vector<std::string> said_;
  Lab lab_{host_, "/usr/bin/fairlead", [this](std::string_view step) { said_.emplace_back(step); }};
  LabOptions options_;
};

TEST_F(WholeLab, RegistersItsNodesAndPodsBeforeAgentsAsk) {
  options_.nodes = 2;
  const auto plan = lab_.up(options_);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(names_of(api::Kind::node), "node1 node2");
  EXPECT_EQ(names_of(api::Kind::pod),
            "backend1 backend2 backend3 client fairlead-node1 fairlead-node2");
  EXPECT_EQ(join(said_, ", "),
            "network namespaces, process server, objects, process backend1, process backend2, "
            "process backend3, process node1, process node2");
  EXPECT_EQ(state().processes.size(), 6u);
  EXPECT_EQ(state().options.nodes, 2u);
}

TEST_F(WholeLab, WithOtherOptionsKeepsWhatUsersApplied) {
  options_.nodes = 2;
  ASSERT_TRUE(lab_.up(options_));
  ASSERT_TRUE(api().apply(*parse_json(
      R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"mine","namespace":"default"}})")));
  ASSERT_TRUE(api().apply(
      *parse_json(R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"by-hand"}})")));
  options_.nodes = 1;
  options_.backends = 1;
  said_.clear();
  ASSERT_TRUE(lab_.up(options_));
  EXPECT_EQ(said_.at(0), "replacing the lab 't' that is there");
  EXPECT_EQ(names_of(api::Kind::node), "by-hand node1");
  EXPECT_EQ(names_of(api::Kind::pod), "backend1 client fairlead-node1");
  EXPECT_NE(names_of(api::Kind::config_map).find("mine"), std::string::npos);
  EXPECT_EQ(std::ranges::count(host_.fake.present, "fl-t-node2"), 0);
  EXPECT_EQ(host_.fake.running.size(), 3u) << "nobody of the first lab runs any more";
}

TEST_F(WholeLab, AProcessIsStartedAgainOnlyWhenItHasEnded) {
  ASSERT_TRUE(lab_.up(options_));
  EXPECT_TRUE(lab_.start(state(), "node1"));
  EXPECT_EQ(spawns("node1"), 1u);
  for (const char* process : {"node1", "backend2"}) {
    const int before = state().processes.at(process).pid;
    EXPECT_TRUE(lab_.stop(state(), process, 9));
    EXPECT_FALSE(host_.alive(state().processes.at(process)));
    EXPECT_TRUE(lab_.start(state(), process));
    EXPECT_EQ(spawns(process), 2u);
    EXPECT_NE(state().processes.at(process).pid, before) << "the state file knows";
    EXPECT_TRUE(host_.alive(state().processes.at(process)));
  }
}

TEST_F(WholeLab, DownLeavesNothing) {
  ASSERT_TRUE(lab_.up(options_));
  ASSERT_TRUE(lab_.down(options_.directory, "t"));
  EXPECT_TRUE(host_.fake.present.empty());
  EXPECT_TRUE(host_.fake.running.empty());
  EXPECT_FALSE(std::filesystem::exists(options_.directory)) << "it was the last lab";
}

}  // namespace
}  // namespace fairlead::cli
