// A server that fails in random ways while its objects change: lists that stop, watches that are
// cut in the middle of an event, garbage, repeats, versions that are too old. Whatever happened,
// the feed ends with what the server has, and never shows a state that the server did not have.
#include <random>

#include "api/json.h"
#include "api_feed_lab.h"

namespace fairlead::watch {
namespace {

class ChaoticServer {
 public:
  ChaoticServer(net::EventLoop& loop, const Log& log, unsigned seed)
      : random_(seed), server_(loop, log, [this](net::HttpRequest request, auto responder) {
          on_request(request, std::move(responder));
        }) {}

  net::HttpTarget listen() {
    const auto bound = server_.listen({*Ip::parse("127.0.0.1"), 0});
    EXPECT_TRUE(bound);
    return {.unix_path = "", .host = "127.0.0.1", .port = bound->port, .tls = nullptr};
  }
  unsigned upto(unsigned most) { return std::uniform_int_distribution<unsigned>(0, most)(random_); }

  void change() {
    const std::string name(1, static_cast<char>('a' + upto(5)));
    ++version_;
    const bool there = objects_.contains(name);
    if (there && upto(2) == 0) {
      log_.push_back(event("DELETED", name));
      objects_.erase(name);
    } else {
      objects_[name] = static_cast<int>(1000 + version_);
      log_.push_back(event(there ? "MODIFIED" : "ADDED", name));
    }
    states_.insert(state());
    for (auto& watcher : watchers_) {
      if (watcher) write(watcher, log_.back());
    }
  }
  // Versions before this one are forgotten: whoever watches from there must list again.
  void compact() { compacted_ = version_; }
  void calm() { faults_ = false; }

  std::string state() const {
    std::vector<std::string> out;
    for (const auto& [name, port] : objects_) out.push_back(cat(name, '=', port));
    return join(out, " ");
  }
  bool had(const std::string& some_state) const { return states_.contains(some_state); }

 private:
  using Watcher = std::unique_ptr<net::Responder>;

  json::object object(const std::string& name, int64_t version) const {
    return {{"kind", "Service"},
            {"apiVersion", "v1"},
            {"metadata", {{"name", name}, {"namespace", "n"}, {"resourceVersion", cat(version)}}},
            {"spec",
             {{"clusterIP", "10.0.0.1"}, {"ports", json::array{{{"port", objects_.at(name)}}}}}}};
  }
  std::string event(std::string_view type, const std::string& name) const {
    return json::serialize(json::object{{"type", type}, {"object", object(name, version_)}}) + "\n";
  }
  std::string list() const {
    json::array items;
    for (const auto& [name, port] : objects_) items.push_back(object(name, version_));
    return json::serialize(json::object{{"kind", "ServiceList"},
                                        {"apiVersion", "v1"},
                                        {"metadata", {{"resourceVersion", cat(version_)}}},
                                        {"items", std::move(items)}});
  }
  bool unlucky(unsigned one_in) { return faults_ && upto(one_in - 1) == 0; }

  void on_request(const net::HttpRequest& request, Watcher responder) {
    std::optional<int64_t> from;
    for (const auto& [name, value] : net::parse_query(request.query())) {
      if (name == "resourceVersion") from = parse_int(value);
    }
    if (unlucky(8)) return responder->send(net::HttpResponse::text(503, "no leader"));
    if (unlucky(12)) return;  // answered 500 by nobody
    if (!from) return answer_list(std::move(responder));
    if (*from < compacted_) {
      return responder->send(net::HttpResponse::json(410, R"({"code":410,"message":"too old"})"));
    }
    responder->start(net::HttpResponse::json(200, ""));
    for (auto at = static_cast<size_t>(*from); at < log_.size() && responder; ++at) {
      write(responder, log_[at]);
    }
    if (responder) watchers_.push_back(std::move(responder));
  }
  void answer_list(Watcher responder) {
    const std::string body = list();
    if (!unlucky(5)) return responder->send(net::HttpResponse::json(200, body));
    responder->start(net::HttpResponse::json(200, ""));
    responder->write(body.substr(0, upto(static_cast<unsigned>(body.size()) - 1)));
  }
  // The watcher is gone afterwards, if something happened to it.
  void write(Watcher& watcher, const std::string& line) {
    const size_t cut = upto(static_cast<unsigned>(line.size()) - 1);
    switch (faults_ ? upto(24) : 99) {
      case 0:
        return watcher.reset();
      case 1:
        return watcher->finish(), watcher.reset();
      case 2:  // in the middle of an event
        watcher->write(std::string_view(line).substr(0, cut));
        return watcher.reset();
      case 3:
        watcher->write("<html>gateway</html>\n");
        return watcher.reset();
      case 4:
        watcher->write(R"({"type":"ERROR","object":{"kind":"Status","code":410,"message":"x"}})"
                       "\n");
        return watcher.reset();
      case 5:
        watcher->write(R"({"type":"ERROR","object":{"kind":"Status","code":500,"message":"x"}})"
                       "\n");
        return watcher.reset();
      case 6:  // twice
        watcher->write(line + line);
        return;
      case 7:  // in two pieces
        watcher->write(std::string_view(line).substr(0, cut));
        watcher->write(std::string_view(line).substr(cut));
        return;
      case 8:
        watcher->write("\n\n" + line);
        return;
      default:
        watcher->write(line);
    }
  }

  std::minstd_rand random_;
  bool faults_ = true;
  int64_t version_ = 0, compacted_ = 0;
  std::map<std::string, int> objects_;
  std::vector<std::string> log_;  // the event of version i + 1 at i
  std::set<std::string> states_{""};
  std::vector<Watcher> watchers_;
  net::HttpServer server_;  // last: its end silences the watchers
};

class FeedChaos : public ApiFeed, public testing::WithParamInterface<unsigned> {};

TEST_P(FeedChaos, EndsWithWhatTheServerHas) {
  ChaoticServer server(loop_, log_, GetParam());
  for (int i = 0; i < 5; ++i) server.change();
  options_.max_backoff = std::chrono::milliseconds(8);
  options_.request_timeout = std::chrono::milliseconds(200);
  options_.coalesce = {};
  connect(server.listen());
  for (int round = 0; round < 150; ++round) {
    for (unsigned i = server.upto(2); i > 0; --i) server.change();
    if (server.upto(15) == 0) server.compact();
    run_for(std::chrono::milliseconds(2));
  }
  server.calm();
  server.change();
  EXPECT_TRUE(run_until_services(server.state())) << services() << " is not " << server.state();
  EXPECT_TRUE(run_until_no_error()) << errors();
  EXPECT_GT(count("fairlead_feed_errors_total"), 0u) << "nothing went wrong";
  // A list is not one moment of a server that changes, but this one does not change within a list,
  // and events come one by one.
  for (const Tick& tick : ticks_) EXPECT_TRUE(server.had(tick.services)) << tick.services;
}

INSTANTIATE_TEST_SUITE_P(Seeds, FeedChaos, testing::Range(1u, 11u));

}  // namespace
}  // namespace fairlead::watch
