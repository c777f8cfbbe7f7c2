// A request from anybody who got past authentication: routing, negotiation, bodies, the rules of
// writes, lists and watches. Input: "METHOD TARGET\nCONTENT-TYPE\nACCEPT\n" and the body.
#include <sys/types.h>

#include <memory>
#include <string>

#include "base/check.h"
#include "base/text.h"
#include "controlplane/bootstrap.h"
#include "controlplane/rest.h"
#include "controlplane/store_fake.h"

namespace fairlead::controlplane {
namespace {

constexpr size_t kMaxObjects = 2000;

struct Outcome {
  int status = 0;
  bool json = false;
  std::string body;
};

class Responder final : public net::Responder {
 public:
  explicit Responder(std::shared_ptr<Outcome> outcome) : outcome_(std::move(outcome)) {}
  void send(net::HttpResponse response) override {
    CHECK(outcome_->status == 0);
    outcome_->status = response.status;
    outcome_->json = response.headers.get("Content-Type").starts_with("application/json");
    outcome_->body = std::move(response.body);
  }
  void start(net::HttpResponse head) override {
    CHECK(outcome_->status == 0);
    outcome_->status = head.status;
  }
  void write(std::string_view bytes) override { CHECK(bytes.ends_with('\n')); }
  void finish() override {}
  size_t unsent_bytes() const override { return 0; }
  void on_gone(std::move_only_function<void()> gone) override { gone_ = std::move(gone); }

 private:
  std::shared_ptr<Outcome> outcome_;
  std::move_only_function<void()> gone_;
};

// A whole API on a log in memory.
struct World {
  World()
      : store(loop, resources, std::make_unique<FakeLog>(std::make_shared<FakeDisk>()),
              Log(sink, LogLevel::error), registry, {}),
        hub(loop, resources, clock, registry, {}),
        rules(ObjectRules::load().value()),
        writer(store, resources, rules, {{*Cidr::parse("10.96.0.0/16")}, 30000, 32767}, clock),
        api({loop, resources, rules, store, hub, writer, clock, registry, 0},
            Log(sink, LogLevel::error)) {
    CHECK(store.load([this](const StoreEvent& event) { hub.publish(event); }).has_value());
    bootstrap(store, resources, writer,
              {*Cidr::parse("10.96.0.0/16"), {*Ip::parse("192.0.2.1"), 6443}, {}},
              [](const Result<void>& done) { CHECK(done.has_value()); });
    settle();
  }
  void settle() {
    while (store.pending() > 0) loop.run_once(std::chrono::milliseconds(10));
  }
  size_t objects() const {
    size_t out = hub.watchers();
    for (const Resource& row : resources.all()) out += store.objects(row).size();
    return out;
  }

  net::EventLoop loop;
  RealClock clock;
  FdLogSink sink{2};
  Registry registry;
  ResourceTable resources;
  Store store;
  Hub hub;
  ObjectRules rules;
  Writer writer;
  Api api;
};

std::string_view take_line(std::string_view& text) {
  size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

void run(World& world, std::string_view text) {
  net::HttpRequest request;
  std::string_view line = take_line(text);
  size_t space = std::min(line.find(' '), line.size());
  request.method = line.substr(0, space);
  request.target = line.substr(std::min(space + 1, line.size()));
  if (std::string_view type = take_line(text); !type.empty())
    request.headers.add("Content-Type", std::string(type));
  if (std::string_view accept = take_line(text); !accept.empty())
    request.headers.add("Accept", std::string(accept));
  request.body = text;
  request.peer.uid = 0;
  auto outcome = std::make_shared<Outcome>();
  world.api.handle(std::move(request), std::make_unique<Responder>(outcome));
  world.settle();
  CHECK(outcome->status >= 200 && outcome->status < 500);
  if (outcome->json) CHECK(parse_json(outcome->body).has_value());
}

}  // namespace
}  // namespace fairlead::controlplane

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::controlplane;
  static std::unique_ptr<World> world;
  if (!world || world->objects() > kMaxObjects) {
    world.reset();
    world = std::make_unique<World>();
  }
  run(*world, {reinterpret_cast<const char*>(data), size});
  return 0;
}
