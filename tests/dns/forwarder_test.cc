#include "dns/plugins/forward/forwarder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "message_text.h"

namespace fairlead::dns {
namespace {

using namespace testing;
using ::testing::HasSubstr;

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(CheckReply, OnlyTheAnswerToThisQuestionPasses) {
  const std::string query = ask("Www.example.org.", type::a, {.id = 7});
  const std::string good = make_reply(query, 0, {"www.example.org. 60 A 1.2.3.4"});
  const auto changed = [&](size_t at, int flip) {
    std::string out = good;
    out[at] = static_cast<char>(out[at] ^ flip);
    return out;
  };
  struct Case {
    std::string reply;
    std::string_view error;  // "" = passes
  };
  const size_t question_type = 12 + 17;
  const std::vector<Case> cases = {
      {good, ""},
      {changed(13, 0x20), ""},  // the spelling does not matter
      {changed(0, 1), "another id"},
      {changed(2, 0x80), "without the response flag"},
      {changed(13, 1), "another question"},
      {changed(question_type + 1, 4), "another question"},
      {changed(question_type + 3, 2), "another question"},
      {good.substr(0, 12 + 21), "malformed record"},
      {good.substr(0, 5), "expected at least 12"},
      {make_reply(ask("www.example.com.", type::a, {.id = 7}), 0, {}), "another question"},
      {"", "expected at least 12"},
  };
  for (const auto& c : cases) {
    const auto result = check_reply(bytes_of(query), bytes_of(c.reply));
    EXPECT_EQ(result.has_value(), c.error.empty()) << hex(c.reply);
    EXPECT_THAT(result ? "" : result.error().message, HasSubstr(c.error));
  }
}

// Upstreams that do as a script says: by address, what each next query gets.
class ForwarderTest : public ::testing::Test {
 protected:
  class Scripted final : public Exchange {
   public:
    Scripted(ForwarderTest& test, std::string address)
        : test_(test), address_(std::move(address)) {}
    void ask(std::string_view wire_query, Done done) override {
      test_.asked.push_back(address_);
      const std::string query(wire_query);
      Result<std::string> reply = fail("timed out");
      auto& steps = test_.script[address_];
      std::string step = "ok";
      if (!steps.empty()) {
        step = steps.front();
        if (steps.size() > 1) steps.erase(steps.begin());
      }
      if (step == "ok") reply = make_reply(query, 0, {});
      if (step == "servfail") reply = make_reply(query, rcode::serv_fail, {});
      if (step == "wrong id") {
        reply = make_reply(query, 0, {});
        (*reply)[0] = static_cast<char>((*reply)[0] ^ 0x55);
      }
      if (step == "garbage") reply = "garbage";
      timers_.push_back(
          test_.loop.after(Duration::zero(), [done = std::move(done), reply] { done(reply); }));
    }

   private:
    ForwarderTest& test_;
    std::string address_;
    std::vector<net::Timer> timers_;
  };

  std::unique_ptr<Forwarder> make(const ForwardConfig& config) {
    return std::make_unique<Forwarder>(
        loop, config,
        [this](const SocketAddress& upstream, bool) {
          return std::make_unique<Scripted>(*this, upstream.ip.to_string());
        },
        under_way, Log(sink));
  }
  static ForwardConfig config(std::vector<std::string> upstreams) {
    ForwardConfig out{.from = ".", .policy = ForwardConfig::Policy::sequential};
    for (const auto& text : upstreams) out.upstreams.push_back({*Ip::parse(text), 53});
    return out;
  }
  Result<std::string> ask_one(Forwarder& forwarder) {
    std::optional<Result<std::string>> got;
    forwarder.ask(ask("www.example.org.", type::a),
                  [&](Result<std::string> reply) { got = reply; });
    for (int turn = 0; turn < 100 && !got; ++turn) loop.run_once(std::chrono::milliseconds(1));
    return got ? *got : fail("never called back");
  }

  net::EventLoop loop;
  MemoryLogSink sink;
  std::atomic<uint32_t> under_way{0};
  std::map<std::string, std::vector<std::string>> script;
  std::vector<std::string> asked;
};

TEST_F(ForwarderTest, FailsOverOnTimeOutsWrongIdsAndGarbage) {
  for (const std::string bad : {"timeout", "wrong id", "garbage"}) {
    script = {{"192.0.2.1", {bad}}};
    asked.clear();
    const auto forwarder = make(config({"192.0.2.1", "192.0.2.2"}));
    EXPECT_TRUE(ask_one(*forwarder)) << bad;
    EXPECT_EQ(asked, (std::vector<std::string>{"192.0.2.1", "192.0.2.2"})) << bad;
  }
}

TEST_F(ForwarderTest, AnUpstreamsOwnErrorIsAnAnswer) {
  script = {{"192.0.2.1", {"servfail"}}};
  const auto forwarder = make(config({"192.0.2.1", "192.0.2.2"}));
  const auto reply = ask_one(*forwarder);
  ASSERT_TRUE(reply);
  EXPECT_EQ(read_reply(*reply).rcode, "SERVFAIL");
  EXPECT_EQ(asked.size(), 1u);
}

TEST_F(ForwarderTest, TriesAreBounded) {
  script = {{"192.0.2.1", {"timeout"}}, {"192.0.2.2", {"timeout"}}};
  const auto forwarder = make(config({"192.0.2.1", "192.0.2.2"}));
  const auto reply = ask_one(*forwarder);
  ASSERT_FALSE(reply);
  EXPECT_THAT(reply.error().message, HasSubstr("192.0.2.2:53: timed out"));
  EXPECT_EQ(asked.size(), 4u);
  EXPECT_EQ(under_way.load(), 0u);
}

TEST_F(ForwarderTest, FailingUpstreamsAreLeftOutUntilAProbeSucceeds) {
  script = {{"192.0.2.1", {"timeout"}}};
  const auto forwarder = make(config({"192.0.2.1", "192.0.2.2"}));
  EXPECT_EQ(forwarder->healthy(), 2u);
  EXPECT_TRUE(ask_one(*forwarder));
  EXPECT_TRUE(ask_one(*forwarder));  // max_fails 2
  EXPECT_EQ(forwarder->healthy(), 1u);
  EXPECT_THAT(sink.text(), HasSubstr("upstream is down"));
  asked.clear();
  EXPECT_TRUE(ask_one(*forwarder));
  EXPECT_EQ(asked, (std::vector<std::string>{"192.0.2.2"}));
  script = {};
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (forwarder->healthy() < 2 && std::chrono::steady_clock::now() < until) {
    loop.run_once(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(forwarder->healthy(), 2u);
  EXPECT_THAT(sink.text(), HasSubstr("upstream is back"));
}

TEST_F(ForwarderTest, WhenAllAreDownTheyAreAskedAllTheSame) {
  script = {{"192.0.2.1", {"timeout", "timeout", "ok"}}};
  auto one = config({"192.0.2.1"});
  one.max_fails = 1;
  const auto forwarder = make(one);
  EXPECT_FALSE(ask_one(*forwarder));
  EXPECT_EQ(forwarder->healthy(), 0u);
  EXPECT_TRUE(ask_one(*forwarder));
}

TEST_F(ForwarderTest, PoliciesChooseTheFirstUpstream) {
  auto round_robin = config({"192.0.2.1", "192.0.2.2", "192.0.2.3"});
  round_robin.policy = ForwardConfig::Policy::round_robin;
  const auto turns = make(round_robin);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(ask_one(*turns));
  EXPECT_EQ(asked, (std::vector<std::string>{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1",
                                             "192.0.2.2", "192.0.2.3"}));
  asked.clear();
  auto random = round_robin;
  random.policy = ForwardConfig::Policy::random;
  const auto any = make(random);
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(ask_one(*any));
  EXPECT_EQ(std::set<std::string>(asked.begin(), asked.end()).size(), 3u);
}

TEST_F(ForwarderTest, MaxConcurrentCountsEveryWorker) {
  auto limited = config({"192.0.2.1"});
  limited.max_concurrent = 2;
  const auto here = make(limited), there = make(limited);
  int done = 0;
  here->ask(ask("a.", type::a), [&](const Result<std::string>&) { ++done; });
  EXPECT_TRUE(there->has_room());
  there->ask(ask("b.", type::a), [&](const Result<std::string>&) { ++done; });
  EXPECT_FALSE(here->has_room());
  EXPECT_FALSE(there->has_room());
  for (int turn = 0; turn < 100 && done < 2; ++turn) loop.run_once(std::chrono::milliseconds(1));
  EXPECT_TRUE(here->has_room());
}

TEST_F(ForwarderTest, DestructionGivesBackWhatWasUnderWay) {
  auto forwarder = make(config({"192.0.2.1"}));
  forwarder->ask(ask("a.", type::a), [](const Result<std::string>&) { FAIL(); });
  EXPECT_EQ(under_way.load(), 1u);
  forwarder.reset();
  EXPECT_EQ(under_way.load(), 0u);
}

}  // namespace
}  // namespace fairlead::dns
