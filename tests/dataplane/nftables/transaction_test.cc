// What is sent when a row changes: as few elements as the change has, in an order that the kernel
// accepts; and a whole table in stages that refuse nobody.
#include "dataplane/nftables/transaction.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/nftables/fake_runner.h"
#include "dataplane/nftables/wanted.h"
#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane::nft {
namespace {

const RowKey web{Ip::v4(0x0a600001), Protocol::tcp, 80, false};

// "internal abc": an action, and a letter for each backend 10.0.0.<letter>:80. "": no row. A range
// stands for itself; "sticky" is an affinity.
std::optional<Row> row(std::string_view text) {
  if (text.empty()) return std::nullopt;
  Row out;
  for (const std::string_view word : split(text, ' ')) {
    if (word == "sticky") {
      out.affinity = {(uint64_t{7} << 32) | 9, 60};
    } else if (const auto range = Cidr::parse(word)) {
      out.ranges.push_back(*range);
      out.guarded = true;
    } else if (word == "internal" || word == "external" || word == "outside") {
      out.action = word == "internal"   ? Action::internal
                   : word == "external" ? Action::external
                                        : Action::outside;
    } else if (word == "reject" || word == "drop") {
      out.action = word == "reject" ? Action::no_endpoint : Action::policy_drop;
    } else {
      for (const char c : word) {
        out.slots.push_back({Ip::v4(0x0a000000u + static_cast<uint8_t>(c)), 80});
      }
    }
  }
  return out;
}

// The commands of one change, short: "- services4 10.96.0.1 . 6 . 80", "+ ...".
std::string change(std::string_view from, std::string_view to, RowKey key = web) {
  const Layout layout({}, {});
  Transaction transaction(layout);
  const auto before = row(from), after = row(to);
  transaction.change_row(key, before ? &*before : nullptr, after ? &*after : nullptr);
  std::string out;
  const std::string commands = transaction.commands();
  for (const std::string_view line : split(commands, '\n')) {
    if (line.empty()) continue;
    const auto words = split(line, ' ');
    const std::string_view list = line.substr(line.find('{') + 2);
    append(out, cat(words[0] == "delete" ? "- " : "+ ", words[4], " ",
                    list.substr(0, list.rfind(" }")), "\n"));
  }
  return out;
}

TEST(Transaction, SendsWhatDiffersOfARow) {
  const struct {
    std::string_view from, to, commands;
  } cases[] = {
      {"", "", ""},
      {"internal ab", "internal ab", ""},
      {"", "reject", "+ services4 10.96.0.1 . 6 . 80 : goto no-endpoint\n"},
      {"reject", "drop",
       "- services4 10.96.0.1 . 6 . 80\n+ services4 10.96.0.1 . 6 . 80 : goto policy-drop\n"},
      {"", "internal a",
       "+ services4 10.96.0.1 . 6 . 80 : goto internal-tcp4-1\n"
       "+ tcp-backends4 10.96.0.1 . 80 . 0 : 10.0.0.97 . 80\n"},
      {"internal a", "", "- services4 10.96.0.1 . 6 . 80\n- tcp-backends4 10.96.0.1 . 80 . 0\n"},
      // One backend more is its slot and another chain.
      {"internal ab", "internal abc",
       "- services4 10.96.0.1 . 6 . 80\n"
       "+ services4 10.96.0.1 . 6 . 80 : goto internal-tcp4-3\n"
       "+ tcp-backends4 10.96.0.1 . 80 . 2 : 10.0.0.99 . 80\n"},
      {"internal abc", "internal acb",
       "- tcp-backends4 10.96.0.1 . 80 . 1, 10.96.0.1 . 80 . 2\n"
       "+ tcp-backends4 10.96.0.1 . 80 . 1 : 10.0.0.99 . 80, "
       "10.96.0.1 . 80 . 2 : 10.0.0.98 . 80\n"},
      {"external a 10.0.0.0/8", "external a 10.0.0.0/9 11.0.0.0/8",
       "- ranges4 10.96.0.1 . 6 . 80 . 10.0.0.0/8\n"
       "+ ranges4 10.96.0.1 . 6 . 80 . 10.0.0.0/9, 10.96.0.1 . 6 . 80 . 11.0.0.0/8\n"},
      {"external a", "external a 10.0.0.0/8",
       "- services4 10.96.0.1 . 6 . 80\n"
       "+ ranges4 10.96.0.1 . 6 . 80 . 10.0.0.0/8\n"
       "+ services4 10.96.0.1 . 6 . 80 : goto guarded-external-tcp4-1\n"},
      {"internal a", "internal a sticky",
       "- services4 10.96.0.1 . 6 . 80\n"
       "+ remember4 10.96.0.1 . 6 . 80 : goto remember-tcp4-60-0000000700000009\n"
       "+ services4 10.96.0.1 . 6 . 80 : goto internal-tcp4-1-sticky-60-0000000700000009\n"},
      {"internal a sticky", "internal a",
       "- remember4 10.96.0.1 . 6 . 80\n- services4 10.96.0.1 . 6 . 80\n"
       "+ services4 10.96.0.1 . 6 . 80 : goto internal-tcp4-1\n"},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(change(one.from, one.to), one.commands) << one.from << " -> " << one.to;
  }
  RowKey outside = web;
  outside.outside = true;
  EXPECT_EQ(change("", "outside ab", outside),
            "+ outside4 10.96.0.1 . 6 . 80 : goto outside-tcp4-2\n"
            "+ tcp-backends4 10.96.0.1 . 80 . 65536 : 10.0.0.97 . 80, "
            "10.96.0.1 . 80 . 65537 : 10.0.0.98 . 80\n");
}

TEST(Transaction, ChainsComeFirstAndGoLast) {
  const Layout layout({}, {});
  std::set<ChainKey> existing;
  Transaction transaction(layout);
  const auto before = row("internal ab"), after = row("internal a sticky");
  transaction.need_chains(web, *after, existing);
  transaction.need_chains(web, *after, existing);  // are there now
  transaction.change_row(web, &*before, &*after);
  transaction.delete_chain(chain_of(web, *before));
  std::string order;
  const std::string commands = transaction.commands();
  for (const std::string_view line : split(commands, '\n')) {
    const auto words = split(line, ' ');
    if (words.size() < 5) continue;
    const std::string step = cat(words[0], " ", words[1], "; ");
    if (!order.ends_with(step)) order += step;
  }
  EXPECT_EQ(order,
            "add chain; add rule; add chain; add rule; delete element; add element; "
            "delete chain; ");
  EXPECT_EQ(existing.size(), 2u);
  // Two chains made and one gone; the row, its memory, and the second slot.
  EXPECT_EQ(transaction.writes(), 3u + 1u + 2u + 1u);
}

// At no moment between two stages may a packet find an address without its row.
TEST(Stages, RefuseNobodyAtAnyMoment) {
  const NodeConfig node = random_node();
  const Layout layout({}, node);
  Transaction transaction(layout);
  std::set<ChainKey> chains;
  constexpr uint32_t services = 6000;
  for (uint32_t i = 0; i < services; ++i) {
    RowKey key = web;
    key.ip = Ip::v4(0x0a600000 + i);
    const auto one = row("internal abc");
    transaction.need_chains(key, *one, chains);
    transaction.change_row(key, nullptr, &*one);
    transaction.add(cluster_ips_set(false), key.ip.to_string());
  }
  const auto stages = transaction.stages(layout.replace_commands());
  EXPECT_GT(stages.size(), 2u);
  FakeNft kernel;
  for (const std::string& stage : stages) {
    ASSERT_TRUE(kernel.run(stage));
    const NftTable table = **kernel.read_table("fairlead");
    const auto size = [&](const char* set) { return table.sets.at(set).size(); };
    EXPECT_TRUE(size("cluster-ips4") == 0 || size("services4") == services);
    EXPECT_TRUE(size("services4") == 0 || size("tcp-backends4") == 3 * services);
  }
  EXPECT_EQ(kernel.read_table("fairlead").value()->sets.at("cluster-ips4").size(), services);
}

// Rows, owners and counted addresses after random changes are those of the table alone.
TEST(Wanted, ChangesEndAsTheWholeTableDoes) {
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    RandomCluster cluster(seed);
    ServiceTable table;
    table.node = random_node();
    Wanted changed;
    changed.update(table, {}, true);
    RowMap rows;
    for (int step = 0; step < 80; ++step) {
      SCOPED_TRACE(cat("seed ", seed, " step ", step));
      const auto tick = cluster.step();
      const auto keys = update(table, *tick.snapshot, tick.changes);
      for (const RowKey& key : changed.update(table, keys, false)) {
        const auto claim = changed.claim(table, key);
        rows.erase(key);
        if (claim) rows.emplace(key, claim->row);
      }
      Wanted whole;
      RowMap all;
      for (const RowKey& key : whole.update(table, {}, true)) {
        if (const auto claim = whole.claim(table, key)) all.emplace(key, claim->row);
      }
      ASSERT_EQ(to_text(rows), to_text(all));
      ASSERT_TRUE(rows == all);
      ASSERT_EQ(changed.hairpin().all(), whole.hairpin().all());
      ASSERT_EQ(changed.cluster_ips().all(), whole.cluster_ips().all());
      // Each row has one owner, who says so.
      size_t owned = 0;
      for (const auto& [key, entry] : table.services) owned += whole.rows_owned_by(key).size();
      ASSERT_EQ(owned, all.size());
    }
  }
}

}  // namespace
}  // namespace fairlead::dataplane::nft
