// Reading the table back: what fairlead makes is understood, anything else is named.
#include "dataplane/nftables/kernel_state.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::dataplane::nft {
namespace {

std::string listing(std::string_view items) { return cat("{\"nftables\": [", items, "]}"); }

constexpr std::string_view good = R"(
  {"metainfo": {"version": "1.0.6"}},
  {"table": {"family": "inet", "name": "fairlead", "handle": 1}},
  {"chain": {"name": "layout-1-77"}}, {"chain": {"name": "internal-tcp4-2"}},
  {"chain": {"name": "no-endpoint"}}, {"chain": {"name": "prerouting", "type": "nat"}},
  {"rule": {"chain": "internal-tcp4-2", "expr": []}}, {"rule": {"chain": "internal-tcp4-2", "expr": []}},
  {"map": {"name": "services4", "map": "verdict", "elem": [
    [{"concat": ["10.96.0.1", 6, 80]}, {"goto": {"target": "internal-tcp4-2"}}],
    [{"concat": ["10.96.0.2", 17, 53]}, {"goto": {"target": "no-endpoint"}}]]}},
  {"map": {"name": "outside6"}},
  {"map": {"name": "tcp-backends4", "elem": [
    [{"concat": ["10.96.0.1", 80, 1]}, {"concat": ["10.1.0.2", 8080]}],
    [{"concat": ["10.96.0.1", 80, 0]}, {"concat": ["10.1.0.1", 8080]}]]}},
  {"set": {"name": "hairpin4", "elem": [{"concat": ["10.1.0.1", "10.1.0.1"]}]}})";

TEST(KernelState, ReadsRowsSlotsChainsAndLabel) {
  const auto state = parse_kernel_state(listing(good));
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(to_text(state->rows),
            "10.96.0.1:80 TCP internal 10.1.0.1:8080 10.1.0.2:8080\n"
            "10.96.0.2:53 UDP no-endpoint\n");
  const Row& row = state->rows.at({Ip::v4(0x0a600001), Protocol::tcp, 80, false});
  EXPECT_EQ(row.slots[1].to_string(), "10.1.0.2:8080");
  EXPECT_EQ(state->label, "layout-1-77");
  EXPECT_EQ(state->chains, (std::set<ChainKey>{{Action::internal, Protocol::tcp, false, 2}}));
  EXPECT_EQ(state->rules.at("internal-tcp4-2"), 2u);
  EXPECT_TRUE(state->hairpin.contains(Ip::v4(0x0a010001)));
}

TEST(KernelState, OutsideRowsHaveSlotsOfTheirOwn) {
  const auto state = parse_kernel_state(listing(R"(
    {"map": {"name": "outside6", "elem": [
      [{"concat": ["fd01::1", 6, 30080]}, {"goto": {"target": "outside-tcp6-1"}}]]}},
    {"map": {"name": "tcp-backends6", "elem": [
      [{"concat": ["fd01::1", 30080, 65536]}, {"concat": ["fd10::1", 8080]}]]}})"));
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(to_text(state->rows), "[fd01::1]:30080 TCP outside [fd10::1]:8080\n");
}

TEST(KernelState, AnEmptyTableIsAState) {
  const auto state = parse_kernel_state(listing(""));
  ASSERT_TRUE(state);
  EXPECT_TRUE(state->rows.empty());
  EXPECT_EQ(state->label, "");
}

TEST(KernelState, SaysWhatItDoesNotUnderstand) {
  constexpr std::string_view service = R"({"map": {"name": "services4", "elem": [
      [{"concat": ["10.96.0.1", 6, 80]}, {"goto": {"target": "internal-tcp4-1"}}]]}},)";
  struct Case {
    std::string json, error;
  };
  const Case cases[] = {
      {"", "invalid JSON at byte 0"},
      {"[]", "listing without \"nftables\""},
      {R"({"nftables": 3})", "listing without \"nftables\""},
      {listing(R"({"map": {"name": "services4", "elem": 3}})"), "set services4: elements"},
      {listing(R"({"map": {"name": "services4", "elem": [3]}})"), "set services4: element not"},
      {listing(R"({"map": {"name": "services4", "elem": [[{"concat": ["10.0.0.1", 6, 80]},
                  {"jump": {"target": "internal-tcp4-1"}}]]}})"),
       "set services4: element not"},
      {listing(R"({"map": {"name": "services4", "elem": [[{"concat": ["10.0.0.1", 6, 80]},
                  {"goto": {"target": "internal-tcp6-1"}}]]}})"),
       "set services4: element not"},
      {listing(R"({"map": {"name": "services4", "elem": [[{"concat": ["10.0.0.1", 6, 80]},
                  {"goto": {"target": "internal-tcp4-99999999"}}]]}})"),
       "set services4: element not"},
      {listing(R"({"map": {"name": "services4", "elem": [[{"concat": ["10.0.0.1", 1, 80]},
                  {"goto": {"target": "no-endpoint"}}]]}})"),
       "set services4: element not"},
      {listing(R"({"map": {"name": "services4", "elem": [[{"concat": ["10.0.0.1", 6, 65536]},
                  {"goto": {"target": "no-endpoint"}}]]}})"),
       "set services4: element not"},
      {listing(R"({"map": {"name": "services4", "elem": [[{"concat": ["host", 6, 80]},
                  {"goto": {"target": "no-endpoint"}}]]}})"),
       "set services4: element not"},
      {listing(R"({"set": {"name": "hairpin4", "elem": [{"concat": ["10.0.0.1", "10.0.0.2"]}]}})"),
       "set hairpin4: element not"},
      {listing(R"({"map": {"name": "tcp-backends4", "elem": [
                  [{"concat": ["10.96.0.1", 80, 0]}, {"concat": ["10.1.0.1", 8080]}]]}})"),
       "backend slot 10.96.0.1 . 80 . 0 of no service"},
      {listing(cat(service, R"({"map": {"name": "tcp-backends4"}})")),
       "1 backend slots expected, 0 found"},
      {listing(cat(service, R"({"map": {"name": "tcp-backends4", "elem": [
                  [{"concat": ["10.96.0.1", 80, 1]}, {"concat": ["10.1.0.1", 8080]}]]}})")),
       "backend slot 10.96.0.1 . 80 . 1 of no service"},
      {listing(cat(service, R"({"map": {"name": "tcp-backends4", "elem": [
                  [{"concat": ["10.96.0.1", 80, -1]}, {"concat": ["10.1.0.1", 8080]}]]}})")),
       "set tcp-backends4: element not"},
  };
  for (const Case& c : cases) {
    const auto state = parse_kernel_state(c.json);
    ASSERT_FALSE(state) << c.json;
    EXPECT_TRUE(state.error().message.starts_with(c.error)) << state.error().message;
  }
}

TEST(KernelState, RulesOfOthersAreFound) {
  const Layout layout("fairlead", 0x4000, {});
  KernelState state;
  EXPECT_EQ(rules_differ(state, layout), "made with other settings ()");
  state.label = layout.label();
  EXPECT_EQ(rules_differ(state, layout), "rules were added or removed by others");
}

}  // namespace
}  // namespace fairlead::dataplane::nft
