// A lab against the fake host: what it asks for, and that a failure leaves nothing behind.
#include "cli/lab/lab.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace fairlead::cli {
namespace {

class LabOnFakeHost : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-lab-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    options_.directory = name;
    options_.name = "t";
  }
  void TearDown() override { std::filesystem::remove_all(options_.directory); }

  Lab lab() {
    return Lab(host_, "/usr/bin/fairlead", [](std::string_view) {});
  }
  bool called(std::string_view text) const {
    return std::ranges::any_of(host_.calls,
                               [&](const std::string& call) { return call.find(text) == 0; });
  }

  FakeLabHost host_;
  LabOptions options_;
};

TEST_F(LabOnFakeHost, AFailureRemovesWhatWasMade) {
  for (const std::string point : {"fl-t-node1: veth p-client", "spawn server", "cgroup "}) {
    host_ = {};
    host_.fail_at = point;
    const auto plan = lab().up(options_);
    ASSERT_FALSE(plan) << point;
    EXPECT_NE(plan.error().message.find("injected failure"), std::string::npos);
    EXPECT_TRUE(host_.present.empty()) << point;
    EXPECT_TRUE(host_.running.empty()) << point;
  }
}

TEST_F(LabOnFakeHost, AProcessThatEndsIsNotWaitedFor) {
  host_.ends_at_once = "server";
  const auto before = std::chrono::steady_clock::now();
  const auto plan = lab().up(options_);
  ASSERT_FALSE(plan);
  EXPECT_TRUE(plan.error().message.starts_with("server has ended: ")) << plan.error().message;
  EXPECT_NE(plan.error().message.find("/log/server.log"), std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(20));
}

TEST_F(LabOnFakeHost, DownFindsALabWhoseStateFileIsGone) {
  host_.present = {"fl-t-node1", "fl-t-fabric", "fl-other-node1"};
  ASSERT_TRUE(lab().down(options_.directory, "t"));
  EXPECT_EQ(host_.present, std::vector<std::string>{"fl-other-node1"});
  EXPECT_TRUE(called("remove cgroup "));
}

TEST_F(LabOnFakeHost, DownTwiceIsFine) {
  EXPECT_TRUE(lab().down(options_.directory, "t"));
  EXPECT_TRUE(lab().down(options_.directory, "t"));
}

TEST_F(LabOnFakeHost, DownGoesOnAfterAFailureAndSaysSo) {
  host_.present = {"fl-t-a", "fl-t-b"};
  host_.fail_at = "fl-t-a: remove";
  const auto done = lab().down(options_.directory, "t");
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("fl-t-a"), std::string::npos);
  EXPECT_TRUE(called("fl-t-b: remove"));
}

TEST_F(LabOnFakeHost, DownEndsTheProcessesOfTheStateFile) {
  std::filesystem::create_directories(options_.directory + "/t");
  LabState state{options_, {{"server", {4711, 1}}, {"node1", {4712, 1}}}};
  ASSERT_TRUE(save(state));
  host_.running = {4711, 4712, 9};
  ASSERT_TRUE(lab().down(options_.directory, "t"));
  EXPECT_EQ(host_.running, std::vector<int>{9});
  EXPECT_FALSE(std::filesystem::exists(options_.directory + "/t"));
}

TEST_F(LabOnFakeHost, StopNamesProcessesThatDoNotExist) {
  const LabState state{options_, {{"server", {1, 1}}}};
  EXPECT_EQ(lab().stop(state, "node9", 15).error().message,
            "the lab has no process 'node9': see fairlead lab status");
  EXPECT_EQ(lab().start(state, "node9").error().message,
            "the lab has no process 'node9': see fairlead lab status");
}

TEST_F(LabOnFakeHost, ProcessesStartInAnOrderThatWorks) {
  options_.nodes = 2;
  std::vector<std::string> names;
  for (const auto& spec : lab_processes(*plan_lab(options_), "/bin/fairlead", "/cg")) {
    names.push_back(spec.name);
    EXPECT_EQ(spec.argv[0], "/bin/fairlead");
    if (spec.name == "node2") {
      EXPECT_EQ(spec.cgroup, "/cg/fl-t/node2/agent");
    }
    if (spec.name == "server") {
      EXPECT_EQ(spec.netns, "");
    }
    if (spec.name == "backend2") {
      EXPECT_EQ(spec.cgroup, "/cg/fl-t/node2/backend2");
    }
  }
  EXPECT_EQ(names, (std::vector<std::string>{"server", "backend1", "backend2", "backend3", "node1",
                                             "node2"}));
}

TEST_F(LabOnFakeHost, HintsAreWholeCommands) {
  const std::string hints = lab_hints(*plan_lab(options_), "./dev in", "build/fairlead");
  EXPECT_NE(hints.find("./dev in client curl -s http://demo.default.svc.cluster.local/"),
            std::string::npos);
  EXPECT_NE(hints.find("/t/admin.kubeconfig get svc,endpointslices,ingress -A"), std::string::npos);
}

TEST_F(LabOnFakeHost, NoLabIsAnErrorThatSaysWhatToDo) {
  EXPECT_EQ(load_lab_state(options_.directory, "t").error().message,
            "no lab named 't' is up: run fairlead lab up");
}

TEST(RealLabHost, SpawnsAndEndsAProcess) {
  const auto host = make_lab_host();
  char log[] = "/tmp/fairlead-spawn-XXXXXX";
  ::close(mkstemp(log));
  const auto process =
      host->spawn({"sleep", "", "", {"/bin/sh", "-c", "echo up; exec sleep 60"}, log});
  ASSERT_TRUE(process) << process.error().message;
  EXPECT_TRUE(host->alive(*process));
  EXPECT_FALSE(host->alive({process->pid, process->start_ticks + 1}));  // a number given away again
  for (int i = 0; i < 100 && std::filesystem::file_size(log) == 0; ++i) usleep(10'000);
  EXPECT_TRUE(host->end(*process, 15, 2000));
  EXPECT_FALSE(host->alive(*process));
  EXPECT_TRUE(host->end(*process, 15, 2000));
  std::string text;
  std::getline(std::ifstream(log), text);
  EXPECT_EQ(text, "up");
  std::filesystem::remove(log);
}

// As a state file that somebody else wrote may have it: to waitpid(2) and kill(2) they mean many.
TEST(RealLabHost, NumbersThatAreNoProcessAreNobody) {
  const pid_t child = fork();
  if (child == 0) _exit(7);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  const auto host = make_lab_host();
  for (const int pid : {0, -1, -child}) {
    EXPECT_FALSE(host->alive({pid, 1})) << pid;
    EXPECT_TRUE(host->end({pid, 1}, SIGKILL, 10)) << pid;
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, WNOHANG), child) << "nobody has waited for our child";
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

}  // namespace
}  // namespace fairlead::cli
