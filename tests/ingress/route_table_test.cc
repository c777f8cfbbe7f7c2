// Cluster objects in, matches out: tests/ingress/routes/*.txt. See there for the format.
#include "ingress/route_table.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "ingress/route_builder.h"
#include "tests/ingress/testing.h"

namespace fairlead::ingress {
namespace {

using testing::Cluster;

std::vector<std::string> words(const std::string& line) {
  std::vector<std::string> out;
  for (const std::string_view word : split(line, ' ')) {
    if (!word.empty()) out.emplace_back(word);
  }
  return out;
}

// "web" or "web:8080" or "web:http".
api::IngressBackend parse_backend(const std::string& text) {
  const size_t colon = text.find(':');
  api::IngressBackend backend{.service = text.substr(0, colon)};
  if (backend.service == "resource") backend.service.clear();
  const std::string port = colon == std::string::npos ? "80" : text.substr(colon + 1);
  if (const auto number = parse_int(port)) {
    backend.port_number = static_cast<uint16_t>(*number);
  } else {
    backend.port_name = port;
  }
  return backend;
}

class CaseRunner {
 public:
  CaseRunner(std::string file, RouteBuilder::Options options)
      : file_(std::move(file)), builder_(std::move(options)) {}

  void line(const std::string& text, int number) {
    where_ = cat(file_, ":", number, ": ", text);
    const std::vector<std::string> parts = words(text);
    if (parts.empty() || parts[0].starts_with('#')) return;
    if (parts[0] == "class") {
      add_class(parts);
    } else if (parts[0] == "service") {
      add_service(parts);
    } else if (parts[0] == "ingress") {
      flush();
      begin_ingress(parts);
    } else if (parts[0] == "host" || parts[0] == "bare-host") {
      ingress_->rules.push_back(
          {.host = parts.size() > 1 ? parts[1] : "", .has_http = parts[0] == "host"});
    } else if (parts[0] == "delete") {
      flush();
      cluster_.erase(parts[1] == "ingress" ? api::Kind::ingress : api::Kind::service, parts[2]);
    } else if (parts[0] == "?") {
      expect_match(parts);
    } else if (parts[0] == "problem") {
      expect_problem(text.substr(text.find("problem ") + 8));
    } else if (parts[0] == "no-problem") {
      build();
      EXPECT_TRUE(builder_.problems().empty()) << where_ << "\n" << builder_.problems().front();
    } else {
      add_path(parts);
    }
  }

 private:
  void add_class(const std::vector<std::string>& parts) {
    cluster_.ingress_class(parts[1], parts[2], parts.size() > 3);
  }
  void add_service(const std::vector<std::string>& parts) {
    std::vector<SocketAddress> endpoints;
    for (size_t i = 2; i < parts.size(); ++i) endpoints.push_back(*SocketAddress::parse(parts[i]));
    cluster_.service(parts[1], endpoints);
  }
  void begin_ingress(const std::vector<std::string>& parts) {
    ingress_ = std::make_unique<api::Ingress>();
    ingress_->meta.key = {"default", parts[1]};
    ingress_->class_name = "fairlead";
    for (size_t i = 2; i < parts.size(); ++i) {
      const size_t equals = parts[i].find('=');
      const std::string key = parts[i].substr(0, equals), value = parts[i].substr(equals + 1);
      if (key == "class") {
        ingress_->class_name = value == "-" ? "" : value;
      } else if (key == "created") {
        ingress_->meta.creation_timestamp = value;
      } else if (key == "default") {
        ingress_->default_backend = parse_backend(value);
      } else if (key == "tls") {
        ingress_->tls.push_back({.hosts = {"tls.example.com"}, .secret_name = value});
      } else {
        ingress_->meta.annotations[key] = value;
      }
    }
  }
  void add_path(const std::vector<std::string>& parts) {
    ASSERT_TRUE(ingress_ != nullptr && !ingress_->rules.empty() && parts.size() >= 2) << where_;
    const std::map<std::string, api::PathType> types = {
        {"Exact", api::PathType::exact},
        {"Prefix", api::PathType::prefix},
        {"Any", api::PathType::implementation_specific}};
    ASSERT_TRUE(types.contains(parts[0])) << where_;
    const bool empty = parts.size() == 2;
    ingress_->rules.back().paths.push_back({.path = empty ? "" : parts[1],
                                            .type = types.at(parts[0]),
                                            .backend = parse_backend(parts.back())});
  }
  void flush() {
    if (ingress_ != nullptr) cluster_.put(std::make_shared<const api::Ingress>(*ingress_));
    ingress_.reset();
  }
  void build() {
    flush();
    const auto tick = cluster_.take();
    if (table_ == nullptr || !tick.changes.empty()) {
      table_ = builder_.update(*tick.snapshot, tick.changes);
    }
  }
  // ? HOST PATH -> SERVICE [503] [https] | none
  void expect_match(const std::vector<std::string>& parts) {
    build();
    ASSERT_GE(parts.size(), 5U) << where_;
    const Route* route = table_->match(parts[1] == "-" ? "" : parts[1], parts[2]);
    std::string got = "none";
    if (route != nullptr) {
      const Backend& backend = table_->backend(*route);
      got = backend.service.name;
      if (backend.endpoints.empty()) got += " 503";
      if (route->redirect_to_https) got += " https";
    }
    std::string want;
    for (size_t i = 4; i < parts.size(); ++i) want += (i == 4 ? "" : " ") + parts[i];
    EXPECT_EQ(got, want) << where_;
  }
  void expect_problem(const std::string& text) {
    build();
    const auto& problems = builder_.problems();
    const bool found = std::any_of(problems.begin(), problems.end(), [&](const std::string& each) {
      return each.find(text) != std::string::npos;
    });
    EXPECT_TRUE(found) << where_ << "\nproblems are:\n" << join(problems, "\n");
  }

  std::string file_, where_;
  Cluster cluster_;
  RouteBuilder builder_;
  std::unique_ptr<api::Ingress> ingress_;
  std::shared_ptr<const RouteTable> table_;
};

class RouteFile : public ::testing::TestWithParam<std::filesystem::path> {};

TEST_P(RouteFile, matches_as_written) {
  std::ifstream in(GetParam());
  ASSERT_TRUE(in);
  const std::string name = GetParam().filename();
  const RouteBuilder::Options options{.controller = "fairlead.io/ingress"};
  auto runner = std::make_unique<CaseRunner>(name, options);
  std::string line;
  int cases = 0;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.starts_with("==")) {  // the next case, with a cluster of its own
      ++cases;
      auto next = options;
      next.watch_without_class = line.ends_with("watch-without-class");
      runner = std::make_unique<CaseRunner>(name, next);
      if (line.find("no-class") == std::string::npos) {
        runner->line("class fairlead fairlead.io/ingress", number);
      }
      continue;
    }
    runner->line(line, number);
  }
  EXPECT_GT(cases, 0);
}

std::vector<std::filesystem::path> route_files() {
  std::vector<std::filesystem::path> files;
  const std::filesystem::path folder = FAIRLEAD_SOURCE_DIR "/tests/ingress/routes";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

INSTANTIATE_TEST_SUITE_P(Routes, RouteFile, ::testing::ValuesIn(route_files()),
                         [](const auto& param) { return param.param.stem().string(); });

}  // namespace
}  // namespace fairlead::ingress
