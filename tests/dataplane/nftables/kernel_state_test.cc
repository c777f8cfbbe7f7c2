// The table as it is read back: chain names, elements in netlink's form, rows, differences.
#include "dataplane/nftables/kernel_state.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>

#include <cstring>

#include "base/text.h"
#include "dataplane/nftables/affinity_memory.h"
#include "dataplane/nftables/desired.h"
#include "dataplane/nftables/set_shape.h"

namespace fairlead::dataplane::nft {
namespace {

TEST(ChainName, IsReadAsItWasWritten) {
  std::vector<ChainKey> keys;
  for (const Action action :
       {Action::internal, Action::external, Action::node_only, Action::outside}) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
      for (const bool flag : {false, true}) {
        ChainKey key{action, protocol, flag, flag ? 65535u : 1u, !flag, false, {}};
        keys.push_back(key);
        key.affinity = {0x7fffffff00000001, 10800};
        keys.push_back(key);
        keys.push_back({Action::internal, protocol, flag, 0, false, true, key.affinity});
      }
    }
  }
  keys.push_back({Action::no_endpoint, Protocol::tcp, false, 0});
  keys.push_back({Action::policy_drop, Protocol::tcp, false, 0});
  keys.push_back({Action::no_endpoint, Protocol::tcp, true, 0, true, false, {}});
  for (const ChainKey& key : keys) {
    EXPECT_EQ(parse_chain_name(chain_name(key)), key) << chain_name(key);
  }
}

TEST(ChainName, NothingElseIsOne) {
  for (const std::string_view name : {"",
                                      "prerouting",
                                      "internal",
                                      "internal-",
                                      "internal-tcp4",
                                      "internal-tcp4-",
                                      "internal-tcp4-0",
                                      "internal-tcp4-65536",
                                      "internal-tcp5-3",
                                      "internal-icmp4-3",
                                      "internal-tcp4-3-sticky",
                                      "internal-tcp4-3-sticky-60",
                                      "internal-tcp4-3-sticky-60-12",
                                      "internal-tcp4-3-sticky-0-0000000000000001",
                                      "internal-tcp4-3-sticky-60-000000000000000g",
                                      "guarded-no-endpoint",
                                      "guarded-no-endpoint5",
                                      "guarded-policy-drop",
                                      "guarded-",
                                      "remember-tcp4",
                                      "remember-tcp4-60-1",
                                      "remember-60-0000000000000001"}) {
    EXPECT_EQ(parse_chain_name(name), std::nullopt) << name;
  }
}

std::string attribute(uint16_t type, std::string_view bytes) {
  const auto length = static_cast<uint16_t>(bytes.size() + 4);
  std::string out(reinterpret_cast<const char*>(&length), 2);
  out.append(reinterpret_cast<const char*>(&type), 2);
  out.append(bytes);
  out.resize((out.size() + 3) / 4 * 4);
  return out;
}

std::string register_bytes(const std::vector<Field>& fields, std::string_view text) {
  std::string out;
  size_t at = 0;
  for (const std::string_view part : split(text, ' ')) {
    if (part == ".") continue;
    const Field field = fields[at++];
    if (field == Field::ip4 || field == Field::ip6) {
      const Ip ip = *Ip::parse(part);
      const size_t skip = field == Field::ip4 ? 12 : 0;
      out.append(reinterpret_cast<const char*>(ip.bytes.data()) + skip, 16 - skip);
      continue;
    }
    const auto number = static_cast<uint32_t>(*parse_int(part));
    const uint16_t port = htons(static_cast<uint16_t>(number));
    if (field == Field::number) out.append(reinterpret_cast<const char*>(&number), 4);
    if (field == Field::port) out.append(reinterpret_cast<const char*>(&port), 2);
    if (field == Field::protocol) out += static_cast<char>(number);
    out.resize((out.size() + 3) / 4 * 4);
  }
  return out;
}

// As libnftables notes them (enum datatypes), six bits each.
constexpr uint32_t number = 4, ip4 = 7, ip6 = 8, protocol = 12, port = 13;
uint32_t types(std::initializer_list<uint32_t> fields) {
  uint32_t out = 0;
  for (const uint32_t field : fields) out = out << 6 | field;
  return out;
}
const uint32_t verdict = NFT_DATA_VERDICT;

TEST(SetShape, ElementsOfEverySetHaveTheTextOfCommands) {
  struct Case {
    uint32_t key_type, data_type;
    std::string key, value;
  };
  const Case cases[] = {
      {types({ip4, protocol, port}), verdict, "10.96.0.1 . 6 . 80", ""},
      {types({ip6, protocol, port}), verdict, "fd01::1 . 132 . 30080", ""},
      {types({ip4, port, number}), types({ip4, port}), "10.96.0.1 . 80 . 65537", "10.1.0.5 . 8080"},
      {types({ip6, port, number}), types({ip6, port}), "fd01::1 . 53 . 0", "fd02::5 . 5353"},
      {types({ip4, ip4}), 0, "10.1.0.5 . 10.1.0.5", ""},
      {types({ip6}), 0, "fd01::1", ""},
      {types({port}), 0, "30000", ""},
      {types({number, number, ip4}), types({ip4}), "1 . 2147483647 . 10.1.0.2", "10.1.0.5"},
      {types({number, number, number, number}), types({port}), "1 . 2 . 3 . 4", "8080"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.key);
    const auto shape = shape_of(c.key_type, c.data_type, 0);
    ASSERT_TRUE(shape);
    EXPECT_EQ(shape->verdict, c.data_type == verdict);
    const std::string bytes = register_bytes(shape->key, c.key);
    EXPECT_EQ(fields_text(shape->key, bytes), c.key);
    EXPECT_EQ(fields_text(shape->key, bytes.substr(0, bytes.size() - 4)), std::nullopt);
    EXPECT_EQ(fields_text(shape->key, bytes + "1234"), std::nullopt);
    // NFTA_SET_ELEM_KEY 1, NFTA_SET_ELEM_DATA 2, NFTA_DATA_VALUE 1 (linux/netfilter/nf_tables.h)
    std::string element = attribute(1, attribute(1, bytes));
    if (!c.value.empty()) {
      append(element, attribute(2, attribute(1, register_bytes(shape->value, c.value))));
    }
    const ReadElement read = read_element(*shape, element);
    EXPECT_EQ(read.key, c.key);
    EXPECT_EQ(read.value, c.value);
  }
}

TEST(SetShape, TypesThatNoneOfOursHasAreNone) {
  constexpr uint32_t mark = 19;
  EXPECT_FALSE(shape_of(0, 0, 0));
  EXPECT_FALSE(shape_of(mark, 0, 0));
  EXPECT_FALSE(shape_of(types({ip4, mark}), 0, 0));
  EXPECT_FALSE(shape_of(ip4, mark, 0));
  EXPECT_FALSE(shape_of(0xffffffff, 0, 0));
  // Both ends of an interval are elements where an address stands alone.
  EXPECT_TRUE(shape_of(ip4, 0, NFT_SET_INTERVAL)->interval);
  EXPECT_FALSE(shape_of(port, 0, NFT_SET_INTERVAL)->interval);
  EXPECT_FALSE(shape_of(types({ip4, ip4}), 0, NFT_SET_INTERVAL)->interval);
}

TEST(SetShape, PrefixesAndVerdicts) {
  const auto ranges = *shape_of(types({ip4, protocol, port, ip4}), 0, NFT_SET_INTERVAL);
  const auto key = [&](std::string_view last) {
    return register_bytes(ranges.key, cat("10.96.0.1 . 6 . 80 . ", last));
  };
  EXPECT_EQ(fields_text(ranges.key, key("10.0.0.0"), key("10.255.255.255")),
            "10.96.0.1 . 6 . 80 . 10.0.0.0/8");
  EXPECT_EQ(fields_text(ranges.key, key("10.0.0.7"), key("10.0.0.7")),
            "10.96.0.1 . 6 . 80 . 10.0.0.7/32");
  EXPECT_EQ(fields_text(ranges.key, key("10.0.0.1"), key("10.0.0.6")), std::nullopt);
  const auto services = *shape_of(types({ip4, protocol, port}), verdict, 0);
  const uint32_t go = htonl(static_cast<uint32_t>(-4));  // NFT_GOTO
  const std::string goto_it = attribute(1, {reinterpret_cast<const char*>(&go), 4}) +
                              attribute(2, std::string_view("no-endpoint\0", 12));
  const std::string element =
      attribute(1, attribute(1, register_bytes(services.key, "10.96.0.1 . 6 . 80"))) +
      attribute(2, attribute(2, goto_it));
  EXPECT_EQ(read_element(services, element).value, "goto no-endpoint");
  EXPECT_EQ(read_element(services, attribute(1, attribute(1, "ab"))).key, "0x6162");
}

TEST(SetShape, IntervalsAreJoined) {
  const auto shape = *shape_of(ip4, 0, NFT_SET_INTERVAL);
  const auto at = [](std::string_view text) {
    const Ip ip = *Ip::parse(text);
    return std::string(reinterpret_cast<const char*>(ip.bytes.data()) + 12, 4);
  };
  EXPECT_EQ(
      join_intervals(shape, {{at("10.2.0.0"), true},
                             {at("10.1.0.0"), false},
                             {at("0.0.0.0"), true},
                             {at("10.9.0.1"), false},
                             {at("10.9.0.2"), true},
                             {at("240.0.0.0"), false}}),
      (std::vector<std::string>{"10.1.0.0-10.1.255.255", "10.9.0.1", "240.0.0.0-255.255.255.255"}));
  // Two that touch, and one from the first address of all, where nft writes an end, too.
  EXPECT_EQ(join_intervals(shape, {{at("0.0.0.0"), false},
                                   {at("0.0.0.0"), true},
                                   {at("10.0.0.0"), true},
                                   {at("10.0.0.0"), false},
                                   {at("10.0.0.9"), true}}),
            (std::vector<std::string>{"0.0.0.0-9.255.255.255", "10.0.0.0-10.0.0.8"}));
}

NftTable table_of_two() {
  NftTable table;
  table.sets["services4"] = {{"10.96.0.1 . 6 . 80", "goto guarded-internal-tcp4-2"},
                             {"10.96.0.2 . 17 . 53", "goto no-endpoint"}};
  table.sets["outside6"] = {{"fd01::1 . 6 . 30080", "goto outside-tcp6-1"}};
  table.sets["tcp-backends4"] = {{"10.96.0.1 . 80 . 1", "10.1.0.2 . 8080"},
                                 {"10.96.0.1 . 80 . 0", "10.1.0.1 . 8080"}};
  table.sets["tcp-backends6"] = {{"fd01::1 . 30080 . 65536", "fd10::1 . 8080"}};
  table.sets["ranges4"] = {{"10.96.0.1 . 6 . 80 . 10.0.0.0/8", ""}};
  return table;
}

TEST(RowsIn, ReadsRowsSlotsAndRanges) {
  const RowMap rows = rows_in(table_of_two());
  EXPECT_EQ(to_text(rows),
            "10.96.0.1:80 TCP internal guarded from 10.0.0.0/8 10.1.0.1:8080 10.1.0.2:8080\n"
            "10.96.0.2:53 UDP no-endpoint\n"
            "[fd01::1]:30080 TCP outside [fd10::1]:8080\n");
  EXPECT_EQ(rows.at({Ip::v4(0x0a600001), Protocol::tcp, 80, false}).slots[1].to_string(),
            "10.1.0.2:8080");
}

TEST(RowsIn, LeavesOutWhatIsNoRow) {
  struct Case {
    std::string set, key, value;
  };
  const Case cases[] = {
      {"services4", "10.0.0.1 . 6 . 80", "jump internal-tcp4-1"},
      {"services4", "10.0.0.1 . 6 . 80", "goto internal-tcp6-1"},
      {"services4", "10.0.0.1 . 6 . 80", "goto internal-tcp4-99999999"},
      {"services4", "10.0.0.1 . 6 . 80", "goto remember-tcp4-60-0000000000000001"},
      {"services4", "10.0.0.1 . 6 . 80", "goto guarded-no-endpoint6"},
      {"services4", "10.0.0.1 . 6 . 80", "goto internal-tcp4-1"},  // without its slot
      {"services4", "10.0.0.1 . 1 . 80", "goto no-endpoint"},
      {"services4", "10.0.0.1 . 6 . 65536", "goto no-endpoint"},
      {"services4", "host . 6 . 80", "goto no-endpoint"},
      {"services4", "0x00", ""},
      {"tcp-backends4", "10.96.0.9 . 80 . 0", "10.1.0.1 . 8080"},
      {"tcp-backends4", "10.96.0.1 . 80 . 2", "10.1.0.1 . 8080"},
      {"tcp-backends4", "10.96.0.1 . 80 . -1", "10.1.0.1 . 8080"},
      {"tcp-backends4", "10.96.0.1 . 80", "10.1.0.1"},
      {"ranges4", "10.96.0.7 . 6 . 80 . 10.0.0.0/8", ""},
      {"ranges4", "10.96.0.1 . 6 . 80 . x", ""},
      {"foreign", "1", "2"},
  };
  for (const Case& c : cases) {
    NftTable table = table_of_two();
    table.sets[c.set][c.key] = c.value;
    EXPECT_EQ(rows_in(table), rows_in(table_of_two())) << c.set << " " << c.key << " " << c.value;
  }
}

TEST(Differences, NameEveryElementThatIsNotAsItShall) {
  const Layout layout({}, {"n", {}, {*Cidr::parse("10.1.0.0/24"), *Cidr::parse("10.1.1.0/24")}});
  Desired desired;
  for (auto& [key, row] : rows_in(table_of_two())) desired.set_row(key, row);
  desired.set_ip("hairpin4", "10.1.0.1 . 10.1.0.1", true);
  NftTable table = table_of_two();
  table.sets["local_pods4"]["10.1.0.0-10.1.1.255"];
  table.sets["hairpin4"]["9.9.9.9 . 9.9.9.9"];
  table.sets["services4"].at("10.96.0.2 . 17 . 53") = "goto policy-drop";
  EXPECT_EQ(differences(desired, layout, table),
            (std::vector<Difference>{
                {"hairpin4", "10.1.0.1 . 10.1.0.1", std::nullopt, ""},
                {"hairpin4", "9.9.9.9 . 9.9.9.9", "", std::nullopt},
                {"services4", "10.96.0.2 . 17 . 53", "goto policy-drop", "goto no-endpoint"},
            }));
}

TEST(Differences, RulesOfOthersAreFound) {
  const Layout layout({}, {});
  NftTable table;
  EXPECT_EQ(rule_differences(table, layout),
            std::vector<std::string>{"the table was made with other settings"});
  table.chains[layout.label()];
  table.chains["stranger"] = 1;
  const auto found = rule_differences(table, layout);
  EXPECT_NE(std::find(found.begin(), found.end(), "chain stranger is foreign"), found.end());
  EXPECT_NE(std::find(found.begin(), found.end(), "chain prerouting is missing"), found.end());
}

TEST(Differences, SetsOfOtherTypesAreFound) {
  const std::string commands =
      "add set inet t a { type ipv4_addr; }\nadd chain inet t c\nadd rule inet t c drop\n";
  NftTable table;
  table.chains = {{"c", 1}, {"stranger", 0}};
  table.sets["a"]["10.0.0.1"];
  EXPECT_EQ(rule_differences(table, "c", commands),
            std::vector<std::string>{"chain stranger is foreign"});
  table.chains.erase("stranger");
  EXPECT_EQ(rule_differences(table, "c", commands), std::vector<std::string>());
  table.sets["a"]["0x0a000001"];
  table.sets["b"]["0x0a000001"];
  EXPECT_EQ(rule_differences(table, "c", commands),
            (std::vector<std::string>{"set a has elements of other types", "set b is foreign"}));
}

TEST(AffinityMemory, ForgetsClientsWhoseBackendLeft) {
  const Layout layout({}, {});
  RowMap rows;
  Row row{Action::internal, {{Ip::v4(0x0a010001), 80}}, {(uint64_t{7} << 32) | 9, 60}};
  rows[{Ip::v4(0x0a600001), Protocol::tcp, 80, false}] = row;
  const NftSet ips = {{"7 . 9 . 10.0.0.1", "10.1.0.1"},
                      {"7 . 9 . 10.0.0.2", "10.1.0.2"},
                      {"7 . 8 . 10.0.0.3", "10.1.0.2"},
                      {"odd", "x"}};
  const NftSet ports = {{"7 . 9 . 10.0.0.1", "80"}, {"7 . 9 . 10.0.0.2", "80"}};
  const AffineBackends valid = affine_backends(rows);
  const std::set<uint64_t> ids{(uint64_t{7} << 32) | 9};
  EXPECT_EQ(forget_commands(layout, false, ips, ports, &ids, valid),
            "add element inet fairlead affinity-ips4 { 7 . 9 . 10.0.0.2 : 10.1.0.2 }\n"
            "delete element inet fairlead affinity-ips4 { 7 . 9 . 10.0.0.2 }\n"
            "add element inet fairlead affinity-ports4 { 7 . 9 . 10.0.0.2 : 80 }\n"
            "delete element inet fairlead affinity-ports4 { 7 . 9 . 10.0.0.2 }\n");
  // Of every id: also those that no row has any more. Another port is another backend.
  const std::string all =
      forget_commands(layout, false, ips, {{"7 . 9 . 10.0.0.1", "81"}}, nullptr, valid);
  for (const std::string_view client : {"10.0.0.1", "10.0.0.2", "10.0.0.3"}) {
    EXPECT_NE(all.find(cat(client, " }")), all.npos) << client;
  }
  EXPECT_EQ(forget_commands(layout, true, {}, {}, nullptr, valid), "");
}

}  // namespace
}  // namespace fairlead::dataplane::nft
