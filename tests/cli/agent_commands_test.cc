// The commands that ask a running agent, against a server that plays the agent.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/text.h"
#include "cli/commands.h"
#include "net/http_server.h"

namespace fairlead::cli {
namespace {

class AgentCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-commands-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    server_ = std::make_unique<net::HttpServer>(loop_, Log(sink_), [this](auto request, auto to) {
      asked_ = cat(request.method, ' ', request.target);
      to->send(net::HttpResponse::text(status_, body_));
    });
    ASSERT_TRUE(server_->listen_unix(socket()));
    thread_ = std::thread([this] { loop_.run(); });
  }
  void TearDown() override {
    loop_.stop();
    thread_.join();
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  std::string socket() const { return folder_ + "/agent.sock"; }

  // The exit code of `fairlead ARGUMENTS --socket ...`, and what it printed.
  int run(std::string_view arguments) {
    CLI::App app;
    Action action;
    add_explain(app, action);
    add_verify(app, action);
    add_proxy_mode(app, action);
    std::vector<std::string> words;
    for (const auto word : split(arguments, ' ')) words.emplace_back(word);
    words.insert(words.end(), {"--socket", socket()});
    std::reverse(words.begin(), words.end());  // as CLI11 takes a vector
    try {
      app.parse(words);
    } catch (const CLI::ParseError&) {
      return 2;
    }
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int code = action();
    out_ = testing::internal::GetCapturedStdout();
    err_ = testing::internal::GetCapturedStderr();
    return code;
  }

  std::string folder_;
  MemoryLogSink sink_;
  net::EventLoop loop_;
  std::unique_ptr<net::HttpServer> server_;
  std::thread thread_;
  int status_ = 200;
  std::string body_ = "answer\n";
  std::string asked_, out_, err_;
};

TEST_F(AgentCommands, AskWhatTheyWereTold) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"explain service default/web", "GET /explain?output=table&service=default%2Fweb"},
      {"explain service web --from 10.0.0.1 --to 10.96.0.1:80/TCP -o json",
       "GET /explain?output=json&service=web&from=10.0.0.1&to=10.96.0.1%3A80%2FTCP"},
      {"explain flow 10.0.0.1 10.96.0.1:80",
       "GET /explain?output=table&from=10.0.0.1&to=10.96.0.1%3A80"},
      {"proxy-mode get", "GET /proxyMode"},
      {"proxy-mode set nftables", "PUT /proxyMode?mode=nftables"},
  };
  for (const auto& [arguments, want] : cases) {
    EXPECT_EQ(run(arguments), 0) << arguments;
    EXPECT_EQ(asked_, want) << arguments;
    EXPECT_TRUE(out_.starts_with("answer\n")) << out_;
  }
}

TEST_F(AgentCommands, AnErrorIsWhatTheAgentSays) {
  status_ = 409;
  body_ = "still in ebpf mode\n";
  for (const char* arguments : {"proxy-mode set nftables", "explain service web", "verify"}) {
    EXPECT_EQ(run(arguments), 1) << arguments;
    EXPECT_NE(err_.find("still in ebpf mode"), std::string::npos) << err_;
    EXPECT_EQ(out_, "");
  }
}

TEST_F(AgentCommands, VerifyExitsWithOneWhenThereWasDrift) {
  body_ = R"({"mode":"nftables","durationUs":5,"drifts":[]})";
  EXPECT_EQ(run("verify"), 0);
  EXPECT_EQ(asked_, "POST /verify");
  EXPECT_EQ(out_, "nftables mode: 0 drifts\n");
  body_ =
      R"({"mode":"nftables","drifts":[{"what":"rule 7 is missing","owner":"","repaired":true}]})";
  EXPECT_EQ(run("verify --repair"), 1);
  EXPECT_EQ(asked_, "POST /verify?repair=true");
  EXPECT_EQ(out_, "rule 7 is missing (owner: unknown) repaired\nnftables mode: 1 drift\n");
  EXPECT_EQ(run("verify -o json"), 1);
  EXPECT_EQ(out_, body_ + "\n");
  body_ = "{}";
  EXPECT_EQ(run("verify"), 1);
}

TEST_F(AgentCommands, WrongUsageIsRefusedBeforeAnybodyIsAsked) {
  for (const char* arguments :
       {"explain", "explain service", "explain flow 10.0.0.1", "proxy-mode", "proxy-mode set",
        "proxy-mode set auto", "proxy-mode set ebfp", "verify -o xml"}) {
    EXPECT_EQ(run(arguments), 2) << arguments;
  }
  EXPECT_EQ(asked_, "");
}

TEST_F(AgentCommands, NobodyThereIsSaidSo) {
  loop_.post([this] { server_.reset(); });
  std::filesystem::remove(socket());
  EXPECT_EQ(run("proxy-mode get"), 1);
  EXPECT_NE(err_.find("the agent does not answer"), std::string::npos) << err_;
  EXPECT_NE(err_.find("Is the agent running?"), std::string::npos) << err_;
  std::ofstream(socket()) << "left by somebody";
  EXPECT_EQ(run("proxy-mode get"), 1);
  EXPECT_NE(err_.find("only while it runs"), std::string::npos) << err_;
}

}  // namespace
}  // namespace fairlead::cli
