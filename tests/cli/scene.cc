#include "tests/cli/scene.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/command_line.h"
#include "dataplane/fake_driver.h"
#include "net/http_client.h"
#include "tests/cli/transcript.h"

namespace fairlead::cli {
namespace {

class SceneDriver final : public dataplane::FakeDriver {
 public:
  SceneDriver(dataplane::Mode mode, SceneDrivers& scene) : mode_(mode), scene_(scene) {}
  std::string_view mode() const override { return to_string(mode_); }
  Result<void> start() override {
    const std::lock_guard lock(scene_.mutex);
    const auto found = scene_.fail_start.find(mode());
    if (found != scene_.fail_start.end()) return fail(found->second);
    return FakeDriver::start();
  }
  Result<std::vector<dataplane::Drift>> verify(bool repair) override {
    const std::lock_guard lock(scene_.mutex);
    std::vector<dataplane::Drift> found = scene_.drifts;
    for (dataplane::Drift& drift : found) drift.repaired = repair;
    if (repair) scene_.drifts.clear();
    return found;
  }
  std::vector<std::string> kernel_entries(const api::ObjectKey& service) const override {
    return {cat("the entry of ", service.to_string())};
  }

 private:
  std::string write_error(const api::ObjectKey&) override {
    const std::lock_guard lock(scene_.mutex);
    return scene_.undone;
  }

  dataplane::Mode mode_;
  SceneDrivers& scene_;
};

std::string rest_after(const std::string& line, size_t words) {
  size_t at = 0;
  for (; words > 0 && at != std::string::npos; --words) {
    at = line.find(' ', at);
    if (at != std::string::npos) ++at;
  }
  return at == std::string::npos ? "" : line.substr(at);
}

// With "! " before each line of standard error.
std::string answer_text(const std::string& out, const std::string& err, int code) {
  std::string text = out;
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  std::string_view errors = err;
  if (errors.ends_with('\n')) errors.remove_suffix(1);
  if (!errors.empty()) {
    for (const auto line : split(errors, '\n')) text += cat("! ", line, '\n');
  }
  if (code != 0) text += cat('[', code, "]\n");
  return text;
}

}  // namespace

Scene::Scene() {
  char name[] = "/tmp/fairlead-transcript-XXXXXX";
  if (mkdtemp(name) == nullptr) ADD_FAILURE() << "no temporary folder";
  folder_ = name;
  std::filesystem::create_directory(folder_ + "/manifests");
  // A loopback address of this process alone, so that ports may be fixed ones.
  const auto pid = static_cast<uint32_t>(getpid());
  const Ip mine = Ip::v4(0x7f000000 | ((pid & 0xffff) << 8) | 1);
  healthz_ = {mine, 10256};
  metrics_ = {mine, 10249};
}

Scene::~Scene() {
  stop();
  std::filesystem::remove_all(folder_);
}

void Scene::stop() {
  if (agent_) agent_->stop();
  if (loop_) loop_->stop();
  if (thread_.joinable()) thread_.join();
  agent_.reset();
  server_.reset();
  loop_.reset();
}

void Scene::write(const std::string& file, const std::string& text) const {
  const std::filesystem::path path = cat(folder_, '/', file);
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

std::string Scene::set(const std::string& line) {
  const auto words = shell_words(line);
  const std::string& verb = words.at(0);
  if (verb == "agent") return start_agent(words);
  if (verb == "wait") return wait_for(rest_after(line, 1));
  if (verb == "answers") {
    return answer_with(static_cast<int>(parse_int(words.at(1)).value()), rest_after(line, 2));
  }
  const std::lock_guard lock(drivers_.mutex);
  if (verb == "drift") {
    const std::string all = rest_after(line, 1);
    const size_t cut = all.find(';');
    drivers_.drifts.push_back(
        {all.substr(0, cut), std::string(trim(cut == all.npos ? "" : all.substr(cut + 1))), false});
  } else if (verb == "fails") {
    const std::string why = rest_after(line, 2);
    drivers_.fail_start.erase(words.at(1));
    if (!why.empty()) drivers_.fail_start[words.at(1)] = why;
  } else if (verb == "undone") {
    drivers_.undone = rest_after(line, 1);
  } else {
    return cat("'@", verb, "' is nothing that a scene has");
  }
  return "";
}

std::string Scene::start_agent(const std::vector<std::string>& words) {
  stop();
  agent::AgentConfig config;
  config.manifests = folder_ + "/manifests";
  config.node_name = "node-1";
  config.node_ips = {Ip::v4(0xc0a80001)};
  config.local_pod_cidrs = {*Cidr::parse("10.244.1.0/24")};
  config.dns = config.ingress = false;
  config.verify_interval = {};
  config.healthz_listen = healthz_;
  config.metrics_listen = metrics_;
  config.socket = folder_ + "/agent.sock";
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    const std::string name =
        equals == std::string::npos ? "proxy-mode" : words[i].substr(0, equals);
    for (const auto& row : agent::agent_options()) {
      if (row.name != name) continue;
      if (const auto done = row.set(config, words[i].substr(equals + 1)); !done) {
        return done.error().message;
      }
    }
  }
  agent_ = std::make_unique<agent::Agent>(
      config, "0.0.0", Log(sink_),
      [this](dataplane::Mode mode) { return std::make_unique<SceneDriver>(mode, drivers_); });
  if (const auto started = agent_->start(); !started) return started.error().message;
  thread_ = std::thread([this] { agent_->run(); });
  return wait_for("\"ready\":true");
}

std::string Scene::answer_with(int status, const std::string& text) {
  stop();
  std::filesystem::remove(folder_ + "/agent.sock");
  loop_ = std::make_unique<net::EventLoop>();
  server_ = std::make_unique<net::HttpServer>(*loop_, Log(sink_), [=](auto, auto responder) {
    responder->send(net::HttpResponse::text(status, text));
  });
  if (const auto bound = server_->listen_unix(folder_ + "/agent.sock"); !bound) {
    return bound.error().message;
  }
  thread_ = std::thread([this] { loop_->run(); });
  return "";
}

std::string Scene::wait_for(const std::string& text) const {
  std::string last;
  for (int i = 0; i < 500; ++i) {
    last = ask({"ask", "socket", "GET", "/status"}, "");
    if (last.find(text) != std::string::npos) return "";
    usleep(10'000);
  }
  return cat("never said ", text, ", but: ", last);
}

std::string Scene::ask(const std::vector<std::string>& words, const std::string& only) const {
  if (words.size() != 4) return "usage: ask DOOR METHOD TARGET\n";
  net::HttpTarget target;
  if (words[1] == "socket") {
    target.unix_path = folder_ + "/agent.sock";
  } else {
    const SocketAddress& to = words[1] == "healthz" ? healthz_ : metrics_;
    target.host = to.ip.to_string();
    target.port = to.port;
  }
  net::HttpRequest request;
  request.method = words[2];
  request.target = words[3];
  const auto response = net::fetch(target, std::move(request));
  if (!response) return cat(response.error().message, '\n');
  std::string text = cat(response->status, '\n');
  const std::string_view allow = response->headers.get("Allow");
  if (!allow.empty()) text += cat("Allow: ", allow, '\n');
  text += response->body;
  if (!text.ends_with('\n')) text += '\n';
  if (only.empty()) return text;
  std::string kept;
  for (const auto line : split(text, '\n')) {
    if (line.find(only) != std::string_view::npos) kept += cat(line, '\n');
  }
  return kept;
}

std::string Scene::run(const std::string& command) {
  std::string line = command;
  for (size_t at = 0; (at = line.find("$DIR", at)) != std::string::npos;) {
    line.replace(at, 4, folder_);
  }
  const size_t pipe = line.find(" | ");
  auto words = shell_words(line.substr(0, pipe));
  if (words.at(0) == "ask") {
    return masked(ask(words, pipe == line.npos ? "" : line.substr(pipe + 3)), folder_);
  }
  if (words.at(0) != "fairlead") return cat("no command ", words.at(0), '\n');
  std::vector<const char*> argv;
  for (const auto& word : words) argv.push_back(word.c_str());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = run_command_line(static_cast<int>(argv.size()), argv.data());
  std::fflush(stdout);
  const std::string out = testing::internal::GetCapturedStdout();
  const std::string err = testing::internal::GetCapturedStderr();
  return masked(answer_text(out, err, code), folder_);
}

}  // namespace fairlead::cli
