#include "harness.h"

#include <gtest/gtest.h>

#include "api/yaml.h"
#include "base/text.h"

namespace fairlead::dns::testing {
namespace {

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class StringReply final : public LateReply {
 public:
  explicit StringReply(std::string& out) : out_(out) {}
  void send(Bytes reply) override { out_.assign(reply.begin(), reply.end()); }

 private:
  std::string& out_;
};

class TestOrigin final : public Origin {
 public:
  TestOrigin(bool tcp, std::string& late) : tcp_(tcp), late_(late) {}
  bool tcp() const override { return tcp_; }
  bool ipv6() const override { return false; }
  SocketAddress client() const override { return {Ip::v4(0x0a090807), 40000}; }
  std::unique_ptr<LateReply> defer() override {
    deferred = true;
    return std::make_unique<StringReply>(late_);
  }
  bool deferred = false;

 private:
  bool tcp_;
  std::string& late_;
};

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

}  // namespace

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  for (const auto word : split(line, ' ')) {
    if (!trim(word).empty()) out.emplace_back(trim(word));
  }
  return out;
}

void put_yaml(api::SnapshotBuilder& builder, std::string_view yaml, std::string_view file) {
  const auto documents = api::parse_yaml(yaml, file);
  ASSERT_TRUE(documents) << documents.error().message;
  for (const auto& document : *documents) {
    const auto object = api::decode(document.value);
    ASSERT_TRUE(object) << object.error().message;
    builder.put(*object);
  }
}

// Follows CNAMEs within the table, as a recursive resolver does.
std::string FakeInternet::reply(std::string_view query) const {
  Request request;
  parse_request(bytes_of(query), request);
  std::string name = name_to_text(request.name.from(0));
  if (contains(broken, name)) return make_reply(query, rcode::serv_fail, {});
  std::vector<std::string> answers;
  bool exists = false;
  for (int chain = 0; chain < 8; ++chain) {
    std::string next;
    for (const auto& record : records) {
      const auto parts = words(record);
      if (parts[0] != name) continue;
      exists = true;
      const uint16_t type = type_from_text(parts[2]);
      if (type == request.type) answers.push_back(record);
      if (type == type::cname && request.type != type::cname) {
        answers.push_back(record);
        next = parts[3];
      }
    }
    if (next.empty()) break;
    name = next;
  }
  return make_reply(query, exists ? rcode::no_error : rcode::nx_domain, answers);
}

class Harness::FakeExchange final : public Exchange {
 public:
  FakeExchange(Harness& harness, const SocketAddress& upstream)
      : harness_(harness), upstream_(upstream.to_string()) {}
  void ask(std::string_view wire_query, Done done) override {
    Request request;
    parse_request(bytes_of(wire_query), request);
    const std::string name = name_to_text(request.name.from(0));
    FakeInternet& internet = harness_.internet_;
    internet.queries.push_back(cat(upstream_, ' ', name, ' ', type_text(request.type)));
    Result<std::string> reply = contains(internet.silent, name)
                                    ? Result<std::string>(fail("timed out"))
                                    : internet.reply(wire_query);
    timers_.push_back(harness_.loop_.after(
        Duration::zero(), [done = std::move(done), reply = std::move(reply)] { done(reply); }));
  }

 private:
  Harness& harness_;
  std::string upstream_;
  std::deque<net::Timer> timers_;
};

Harness::Harness(std::string_view corefile, const std::vector<Ip>& local_ips) {
  auto parsed = parse_corefile(corefile, "Corefile");
  EXPECT_TRUE(parsed) << parsed.error().message;
  if (!parsed) parsed = parse_corefile(".", "Corefile");
  plan_ = std::make_unique<Plan>(std::move(*parsed), local_ips);
  metrics_ = std::make_unique<Metrics>(registry_, *plan_, 1);
  under_way_ = std::vector<std::atomic<uint32_t>>(plan_->forward_steps);
  std::vector<Forwarder*> by_number;
  const ExchangeFactory make = [this](const SocketAddress& upstream, bool) {
    return std::make_unique<FakeExchange>(*this, upstream);
  };
  for (const auto& block : plan_->blocks) {
    for (const auto& step : block.forwards) {
      forwarders_.push_back(
          std::make_unique<Forwarder>(loop_, *step.config, make, under_way_[step.number], log_));
      by_number.push_back(forwarders_.back().get());
    }
  }
  engine_ = std::make_unique<Engine>(
      Engine::Parts{*plan_, board_, metrics_->shard(0), errors_, clock_, by_number}, log_);
}

Harness::~Harness() { forwarders_.clear(); }

void Harness::publish(std::string_view cluster_yaml, std::string_view file) {
  put_yaml(builder_, cluster_yaml, file);
  const auto tick = builder_.take();
  auto indexes = std::make_shared<Indexes>();
  for (const auto& options : plan_->indexes) {
    indexes->push_back(ZoneIndex::build(tick.snapshot, options, test_serial));
  }
  board_.publish(std::move(indexes));
}

std::string Harness::exchange(std::string_view request, bool tcp, uint16_t port) {
  const auto site = std::find_if(plan_->sites.begin(), plan_->sites.end(),
                                 [&](const Site& one) { return one.port == port; });
  EXPECT_TRUE(site != plan_->sites.end());
  std::string late;
  TestOrigin origin(tcp, late);
  std::vector<uint8_t> out(tcp ? max_message_bytes : max_udp_bytes);
  engine_->begin_batch();
  const size_t size = engine_->handle(bytes_of(request), *site, origin, out.data());
  engine_->end_batch();
  if (!origin.deferred) return {reinterpret_cast<const char*>(out.data()), size};
  EXPECT_EQ(size, 0u);
  for (int turn = 0; turn < 100 && late.empty(); ++turn) {
    loop_.run_once(std::chrono::milliseconds(1));
  }
  return late;
}

Reply Harness::query(std::string_view name, std::string_view type, const AskOptions& options,
                     bool tcp) {
  return read_reply(exchange(ask(name, type_from_text(type), options), tcp));
}

}  // namespace fairlead::dns::testing
