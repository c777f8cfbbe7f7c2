// The door to the programs, with programs that do what iptables may do: what they are called with,
// what is made of how they end, and which of the variants is chosen.
#include "dataplane/iptables/runner.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/text.h"

namespace fairlead::dataplane {
namespace {

// A folder of shell scripts that is the whole PATH.
class RunnerTest : public testing::Test {
 protected:
  RunnerTest() {
    char name[] = "/tmp/fairlead-runner-XXXXXX";
    folder_ = ::mkdtemp(name);
    path_ = ::getenv("PATH");
    ::setenv("PATH", folder_.c_str(), 1);
  }
  ~RunnerTest() override {
    ::setenv("PATH", path_.c_str(), 1);
    std::filesystem::remove_all(folder_);
  }

  void program(const std::string& name, const std::string& body) {
    const std::string path = cat(folder_, "/", name);
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    ::chmod(path.c_str(), 0755);
  }
  // What programs have written into the file of this name.
  std::string noted(const std::string& name) {
    std::ifstream in(cat(folder_, "/", name));
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static std::unique_ptr<IptablesRunner> nft(Duration limit = std::chrono::seconds(20)) {
    return make_iptables_runner(IptablesVariant::nft, {.lock_wait_s = 3, .process = limit});
  }
  static std::string error_of(const Result<void>& result) {
    return result ? "" : result.error().message;
  }

  std::string folder_, path_;
};

TEST_F(RunnerTest, SendsTheInputWithTheseOptions) {
  for (const std::string name : {"iptables-nft-restore", "ip6tables-nft-restore"}) {
    program(name, cat("echo \"$@\" > ", folder_, "/args; cat > ", folder_, "/input"));
    ASSERT_TRUE(nft()->restore(name[2] == '6', "*nat\nCOMMIT\n"));
    EXPECT_EQ(noted("args"), "--noflush --counters -w 3\n");
    EXPECT_EQ(noted("input"), "*nat\nCOMMIT\n");
    std::filesystem::remove(cat(folder_, "/", name));
  }
}

TEST_F(RunnerTest, HowARestoreEndsIsSaid) {
  const std::pair<std::string, std::string> cases[] = {
      {"exit 0", ""},
      {"echo note >&2", ""},
      {"echo 'iptables-restore: line 3 failed' >&2; exit 1",
       "iptables-nft-restore: exit code 1: iptables-restore: line 3 failed"},
      {"echo 'Bad argument' >&2; exit 2", "iptables-nft-restore: exit code 2: Bad argument"},
      {"exit 3", "iptables-nft-restore: exit code 3: "},
      {"echo 'Another app is currently holding the xtables lock; still 3s' >&2; exit 4",
       "iptables-nft-restore: exit code 4: Another app is currently holding the xtables lock; "
       "still 3s"},
      {"exit 111", "iptables-nft-restore: exit code 111: "},
      {"kill -9 $$", "iptables-nft-restore: killed by signal 9"},
      {"kill -11 $$", "iptables-nft-restore: killed by signal 11"},
      {"while :; do :; done", "iptables-nft-restore: no end after 400 ms; killed"},
  };
  for (const auto& [body, said] : cases) {
    program("iptables-nft-restore", body);
    const bool slow = body.starts_with("while");
    const auto runner = nft(std::chrono::milliseconds(slow ? 400 : 20'000));
    EXPECT_EQ(error_of(runner->restore(false, "*nat\nCOMMIT\n")), said) << body;
  }
  std::filesystem::remove(cat(folder_, "/iptables-nft-restore"));
  EXPECT_EQ(error_of(nft()->restore(false, "")),
            "iptables-nft-restore cannot be started: No such file or directory");
}

TEST_F(RunnerTest, ErrorsAreKeptToALimit) {
  program("iptables-nft-restore",
          "i=0; while [ $i -lt 2000 ]; do echo 0123456789 >&2; i=$((i+1)); done; exit 1");
  const std::string said = error_of(nft()->restore(false, ""));
  EXPECT_GT(said.size(), 4000u);
  EXPECT_LT(said.size(), 4200u);
}

TEST_F(RunnerTest, SaveGivesWholeLinesHoweverTheyArrive) {
  program("iptables-nft-save",
          "printf '*nat\\n:A'; printf ' - [0:0]\\n\\n'; printf 'COMMIT\\nno end'");
  std::vector<std::string> lines;
  ASSERT_TRUE(nft()->save(false, [&](std::string_view line) { lines.emplace_back(line); }));
  EXPECT_EQ(lines, (std::vector<std::string>{"*nat", ":A - [0:0]", "", "COMMIT"}));
}

TEST_F(RunnerTest, SaveKeepsAnEndlessLineToALimit) {
  program("iptables-nft-save",
          "x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 a b c d; do x=$x$x; done; "
          "printf %s \"$x\"; printf '\\nnext\\n'");
  std::vector<size_t> sizes;
  ASSERT_TRUE(nft()->save(false, [&](std::string_view line) { sizes.push_back(line.size()); }));
  EXPECT_EQ(sizes, (std::vector<size_t>{64 * 1024, 4}));
}

TEST_F(RunnerTest, ASaveThatFailsIsAnErrorAfterItsLines) {
  program("iptables-nft-save", "echo '*nat'; echo 'cannot read' >&2; exit 1");
  size_t lines = 0;
  EXPECT_EQ(error_of(nft()->save(false, [&](std::string_view) { ++lines; })),
            "iptables-nft-save: exit code 1: cannot read");
  EXPECT_EQ(lines, 1u);
}

TEST_F(RunnerTest, AChainIsThereOrNotOrCannotBeAskedFor) {
  const struct {
    const char *body, *said;  // the text of the chain, "none", or "error: ..."
  } cases[] = {
      {"echo -N KUBE-X", "-N KUBE-X\n"},
      {"echo 'iptables: No chain/target/match by that name.' >&2; exit 1", "none"},
      {"echo \"iptables v1.8.9: chain \\`KUBE-X' in table \\`nat' does not exist\" >&2; exit 1",
       "none"},
      {"echo 'Permission denied (you must be root)' >&2; exit 4",
       "error: iptables-nft: Permission denied (you must be root)"},
      {"kill -9 $$", "error: iptables-nft: killed by signal 9"},
  };
  for (const auto& one : cases) {
    program("iptables-nft", cat("echo \"$@\" > ", folder_, "/args; ", one.body));
    const auto chain = nft()->list_chain(false, ipt::Table::nat, "KUBE-X");
    const std::string text = !chain    ? cat("error: ", chain.error().message)
                             : !*chain ? "none"
                                       : **chain;
    EXPECT_EQ(text, one.said) << one.body;
    EXPECT_EQ(noted("args"), "-w 3 -t nat -S KUBE-X\n");
  }
}

TEST_F(RunnerTest, TheVariantIsThatOfChainsThatStandElseOfTheProgram) {
  constexpr const char *yes = "exit 0", *no = "exit 1";
  constexpr const char* says_nft = "echo 'iptables v1.8.9 (nf_tables)'";
  // It has no chains of anybody.
  constexpr const char* says_legacy = "[ \"$1\" = -V ] && echo 'iptables v1.8.9 (legacy)'";
  const struct {
    std::string nft, plain, chosen;  // bodies; "" where the program is missing
  } cases[] = {
      {cat("[ \"$1\" = -V ] && ", says_nft, " && ", yes, "; [ \"$4\" = KUBE-KUBELET-CANARY ]"),
       says_legacy, "nf_tables"},
      {cat("[ \"$1\" = -V ] && ", says_nft, " && ", yes, "; [ \"$4\" = KUBE-PROXY-CANARY ]"),
       says_legacy, "nf_tables"},
      {cat("[ \"$1\" = -V ] && ", says_nft, " && ", yes, "; ", no), says_nft, "nf_tables"},
      {cat("[ \"$1\" = -V ] && ", says_nft, " && ", yes, "; ", no), says_legacy, "legacy"},
      {cat("[ \"$1\" = -V ] && ", says_nft, " && ", yes, "; ", no), "", "nf_tables"},
      {"", "", "legacy"},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(cat(one.nft, " / ", one.plain));
    for (const auto& [name, body] : {std::pair<std::string, std::string>{"iptables-nft", one.nft},
                                     {"iptables", one.plain},
                                     {"iptables-legacy", says_legacy}}) {
      std::filesystem::remove(cat(folder_, "/", name));
      if (!body.empty()) program(name, body);
    }
    const auto runner = make_iptables_runner(IptablesVariant::automatic, {});
    const auto version = runner->version();
    ASSERT_TRUE(version) << version.error().message;
    EXPECT_NE(version->find(one.chosen), version->npos) << *version;
    EXPECT_EQ(runner->writes_at_once() == SIZE_MAX, one.chosen == "legacy");
  }
}

TEST(IptablesVariants, HaveNames) {
  for (const auto variant :
       {IptablesVariant::automatic, IptablesVariant::nft, IptablesVariant::legacy}) {
    EXPECT_EQ(parse_iptables_variant(to_string(variant)), variant);
  }
  EXPECT_EQ(parse_iptables_variant("nftables"), std::nullopt);
  EXPECT_EQ(parse_iptables_variant(""), std::nullopt);
}

TEST_F(RunnerTest, ASysctlThatIsNotThereIsAnError) {
  const auto value = nft()->set_sysctl("net/ipv4/no_such_thing", "1");
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().message, "/proc/sys/net/ipv4/no_such_thing: No such file or directory");
}

}  // namespace
}  // namespace fairlead::dataplane
