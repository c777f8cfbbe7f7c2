// What is written to IPVS, message by message, as scripts: a step, and under it what it makes.
#include "dataplane/ipvs/service_sync.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/ipvs/fake_table.h"

namespace fairlead::dataplane::ipvs {
namespace {

// A kernel that says what was written, and in which connections end at a moment of our choice.
class Kernel final : public Table {
 public:
  Result<void> open() override { return {}; }
  Result<Services> list() override { return fake.list(); }
  Result<Destinations> destinations(const ServiceKey& key) override {
    auto out = fake.destinations(key);
    if (ends_after_reads != 0 && --ends_after_reads == 0) end_connections();
    return out;
  }
  Result<void> write(const TableWrite& write) override {
    auto done = fake.write(write);
    append(said, cat(done ? "  " : "  refused: ", to_text(write), detail(write), "\n"));
    return done;
  }
  Result<void> set_timeouts(const Timeouts& timeouts) override {
    return fake.set_timeouts(timeouts);
  }

  void end_connections() {
    for (auto& [key, service] : fake.services()) {
      for (auto& [address, destination] : service.destinations) {
        destination.active = destination.inactive = 0;
      }
    }
  }

  FakeTable fake;
  std::string said;
  size_t ends_after_reads = 0;  // of destinations; 0: by themselves never

 private:
  static std::string detail(const TableWrite& write) {
    if (write.verb <= Verb::edit_service) {
      return cat(": ", service_line(write.key, write.settings).substr(3));
    }
    if (write.verb == Verb::add_destination || write.verb == Verb::edit_destination) {
      return cat(": weight ", write.destination.weight);
    }
    return "";
  }
};

// A script's world: keys are written short, "80/TCP" is 10.96.0.1:80/TCP and "b3" 10.0.0.3:8080.
class Play {
 public:
  std::string run(std::string_view script) {
    std::string out;
    for (const std::string_view line : split(script, '\n')) {
      if (line.empty() || line.starts_with("  ")) continue;
      kernel_.said.clear();
      if (const auto done = step(split(line, ' ')); !done) {
        append(kernel_.said, cat("  error: ", done.error().message, "\n"));
      }
      append(out, cat(line, "\n", kernel_.said));
    }
    return out;
  }

 private:
  static ServiceKey key(std::string_view text) {
    const size_t slash = text.find('/');
    const auto port = parse_int(text.substr(0, slash), 0, 65535);
    return {*Ip::parse("10.96.0.1"), *parse_protocol(text.substr(slash + 1)),
            static_cast<uint16_t>(*port)};
  }
  static SocketAddress backend(std::string_view text) {
    return {Ip::v4(0x0a000000 + static_cast<uint32_t>(*parse_int(text.substr(1), 0, 255))), 8080};
  }
  Destination& held(std::string_view service, std::string_view address) {
    return kernel_.fake.services().at(key(service)).destinations.at(backend(address));
  }

  Result<void> step(const std::vector<std::string_view>& words) {
    const std::string_view verb = words[0];
    const auto word = [&](size_t i) { return words.at(i); };
    if (verb == "claim") {  // KEY SCHEDULER BACKEND...
      Claim claim;
      claim.settings.scheduler = word(2);
      if (word(2) == "persistent") claim.settings = {"rr", false, 60};
      for (size_t i = 3; i < words.size(); ++i) claim.backends.push_back(backend(word(i)));
      return sync_.sync(key(word(1)), &claim);
    }
    if (verb == "unclaim") return sync_.sync(key(word(1)), nullptr);
    if (verb == "load") return sync_.load();
    if (verb == "stop") return sync_.stop({key(word(1))}, NewFlows::refused);
    if (verb == "pass") return sync_.stop({key(word(1))}, NewFlows::to_node);
    if (verb == "drain") return drain();
    if (verb == "status") return status();
    if (verb == "fail") {  // the write after so many
      kernel_.fake.fail_after(static_cast<size_t>(*parse_int(word(1), 0, 100)));
    } else if (verb == "active") {  // KEY BACKEND COUNT
      held(word(1), word(2)).active = static_cast<uint32_t>(*parse_int(word(3), 0, 100));
    } else if (verb == "closing") {
      held(word(1), word(2)).inactive = static_cast<uint32_t>(*parse_int(word(3), 0, 100));
    } else if (verb == "end-after-reads") {
      kernel_.ends_after_reads = static_cast<size_t>(*parse_int(word(1), 0, 100));
    } else if (verb == "others-delete") {  // KEY [BACKEND]
      auto& services = kernel_.fake.services();
      if (words.size() == 2) {
        services.erase(key(word(1)));
      } else {
        services.at(key(word(1))).destinations.erase(backend(word(2)));
      }
    } else if (verb == "others-weigh") {  // KEY BACKEND WEIGHT
      held(word(1), word(2)).weight = static_cast<uint32_t>(*parse_int(word(3), 0, 100));
    } else {
      return fail(cat("no such step: ", verb));
    }
    return {};
  }

  Result<void> drain() {
    FL_TRY(const auto gone, sync_.drain());
    for (const ServiceKey& one : gone) append(kernel_.said, cat("  gone: ", to_text(one), "\n"));
    return {};
  }

  Result<void> status() {
    std::string draining;
    for (const auto& [one, service] : sync_.held()) {
      if (sync_.is_draining(one)) append(draining, cat(", draining ", to_text(one)));
    }
    append(kernel_.said, cat("  leaving ", sync_.leaving(), draining, "\n"));
    return {};
  }

  Kernel kernel_;
  ServiceSync sync_{kernel_};
};

struct Script {
  std::string name;
  std::string_view text;
};

// For gtest's lists.
void PrintTo(const Script& script, std::ostream* out) { *out << script.name; }

const Script scripts[] = {
    {"AServiceAndItsDestinationsAreWrittenOnce", R"(
claim 80/TCP rr b1 b2
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
claim 80/TCP rr b1 b2
claim 80/TCP rr b1 b2 b3
  add destination 10.0.0.3:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
claim 80/TCP wlc b1 b2 b3
  edit IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s wlc
claim 80/TCP persistent b1 b2 b3
  edit IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr -p 60
claim 80/UDP rr
  add IPVS service 10.96.0.1:80/UDP: -u 10.96.0.1:80 -s rr
)"},
    {"AnIdleDestinationGoesAtOnce", R"(
claim 80/TCP rr b1 b2
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
claim 80/TCP rr b2
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
  delete destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP
status
  leaving 0
unclaim 80/TCP
  delete IPVS service 10.96.0.1:80/TCP
unclaim 80/TCP
)"},
    {"ABusyDestinationGoesWithItsLastConnection", R"(
claim 80/TCP rr b1 b2
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
active 80/TCP b1 2
claim 80/TCP rr b2
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
drain
active 80/TCP b1 0
closing 80/TCP b1 1
drain
status
  leaving 1
closing 80/TCP b1 0
drain
  delete destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP
drain
status
  leaving 0
)"},
    {"OneThatComesBackIsWeighedAgain", R"(
claim 80/TCP rr b1
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
active 80/TCP b1 1
claim 80/TCP rr
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
claim 80/TCP rr b1
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
status
  leaving 0
active 80/TCP b1 0
drain
)"},
    {"DatagramsAndSctpWaitForNothing", R"(
claim 53/UDP rr b1 b2
  add IPVS service 10.96.0.1:53/UDP: -u 10.96.0.1:53 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:53/UDP: weight 1
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:53/UDP: weight 1
active 53/UDP b1 5
claim 53/UDP rr b2
  delete destination 10.0.0.1:8080 of IPVS service 10.96.0.1:53/UDP
active 53/UDP b2 5
unclaim 53/UDP
  delete IPVS service 10.96.0.1:53/UDP
claim 99/SCTP rr b1
  add IPVS service 10.96.0.1:99/SCTP: --sctp-service 10.96.0.1:99 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:99/SCTP: weight 1
closing 99/SCTP b1 5
claim 99/SCTP rr
  delete destination 10.0.0.1:8080 of IPVS service 10.96.0.1:99/SCTP
)"},
    {"AServiceThatIsGoneLastsAsLongAsItsConnections", R"(
claim 80/TCP rr b1 b2
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
active 80/TCP b2 1
unclaim 80/TCP
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
  edit destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
  delete destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP
status
  leaving 1, draining 10.96.0.1:80/TCP
drain
active 80/TCP b2 0
drain
  delete destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP
  delete IPVS service 10.96.0.1:80/TCP
  gone: 10.96.0.1:80/TCP
status
  leaving 0
)"},
    {"AServiceThatIsClaimedAgainIsNotDrained", R"(
claim 80/TCP rr b1
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
active 80/TCP b1 1
unclaim 80/TCP
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
claim 80/TCP wlc b2
  edit IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s wlc
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
active 80/TCP b1 0
drain
  delete destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP
status
  leaving 0
)"},
    {"ConnectionsThatEndBetweenTwoLooksLeaveNothingBehind", R"(
claim 80/TCP rr b1 b2
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
active 80/TCP b1 1
end-after-reads 1
unclaim 80/TCP
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
  edit destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
  delete destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP
  delete destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP
  delete IPVS service 10.96.0.1:80/TCP
status
  leaving 0
)"},
    {"WhatOthersTookAwayWhileItLeftIsForgotten", R"(
claim 80/TCP rr b1 b2
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
active 80/TCP b1 1
claim 80/TCP rr b2
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
others-delete 80/TCP b1
drain
status
  leaving 0
)"},
    {"AnotherRunFindsWhatIsLeaving", R"(
claim 80/TCP rr b1 b2
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
active 80/TCP b1 1
claim 80/TCP rr b2
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
load
status
  leaving 0
claim 80/TCP rr b2
status
  leaving 1
active 80/TCP b1 0
drain
  delete destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP
)"},
    {"WeightsOfOthersArePutRightAfterALoad", R"(
claim 80/TCP rr b1
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
others-weigh 80/TCP b1 7
claim 80/TCP rr b1
load
claim 80/TCP rr b1
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
)"},
    {"ARefusalIsNamedAndNothingIsBelieved", R"(
fail 1
claim 80/TCP rr b1 b2
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  refused: add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  error: add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: Cannot allocate memory
claim 80/TCP rr b1 b2
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
others-delete 80/TCP
claim 80/TCP wrr b1 b2
  refused: edit IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s wrr
  error: edit IPVS service 10.96.0.1:80/TCP: there is none
load
claim 80/TCP wrr b1
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s wrr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
claim 81/TCP best b1
  refused: add IPVS service 10.96.0.1:81/TCP: -t 10.96.0.1:81 -s best
  error: 'best' is no IPVS scheduler: rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh, fo or ovf
)"},
    {"StoppedServicesTakeNothingNew", R"(
claim 80/TCP rr b1 b2
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  add destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
active 80/TCP b1 1
stop 80/TCP
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
  edit destination 10.0.0.2:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
stop 80/TCP
stop 81/TCP
status
  leaving 0
)"},
    {"StoppedServicesMayPassOnWhatIsNew", R"(
claim 80/TCP rr b1
  add IPVS service 10.96.0.1:80/TCP: -t 10.96.0.1:80 -s rr
  add destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
active 80/TCP b1 1
pass 80/TCP
  add destination 10.96.0.1:80 of IPVS service 10.96.0.1:80/TCP: weight 1
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 0
pass 80/TCP
claim 80/TCP rr b1
  edit destination 10.0.0.1:8080 of IPVS service 10.96.0.1:80/TCP: weight 1
  edit destination 10.96.0.1:80 of IPVS service 10.96.0.1:80/TCP: weight 0
  delete destination 10.96.0.1:80 of IPVS service 10.96.0.1:80/TCP
status
  leaving 0
)"},
};

class IpvsServiceSync : public testing::TestWithParam<Script> {};

TEST_P(IpvsServiceSync, WritesWhatTheScriptSays) {
  EXPECT_EQ(Play().run(GetParam().text), GetParam().text.substr(1));
}

INSTANTIATE_TEST_SUITE_P(Scripts, IpvsServiceSync, testing::ValuesIn(scripts),
                         [](const auto& suite) { return suite.param.name; });

}  // namespace
}  // namespace fairlead::dataplane::ipvs
