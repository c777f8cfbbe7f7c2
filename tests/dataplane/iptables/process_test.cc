// Child processes that do well, badly, or too long.
#include "dataplane/iptables/process.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::dataplane::ipt {
namespace {

constexpr Duration second = std::chrono::seconds(1);

Result<ProcessEnd> shell_run(const std::string& script, std::string_view input, std::string& out,
                             Duration limit = 10 * second) {
  return run_process({"sh", "-c", script}, input, limit,
                     [&](std::string_view piece) { out += piece; });
}

TEST(Process, GetsItsInputAndGivesItsOutput) {
  std::string out;
  const std::string big(3'000'000, 'x');  // more than any pipe holds
  const auto end = shell_run("cat; echo warned >&2", big, out);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(end->exit_code, 0);
  EXPECT_EQ(end->errors, "warned\n");
  EXPECT_EQ(out, big);
}

TEST(Process, AnExitCodeIsNoError) {
  std::string out;
  const auto end = shell_run("echo no >&2; exit 4", "", out);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->exit_code, 4);
  EXPECT_EQ(end->errors, "no\n");
}

TEST(Process, ErrorsAreKeptToALimit) {
  std::string out;
  const auto end = shell_run("head -c 100000 /dev/zero | tr '\\0' x >&2", "", out);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->errors.size(), 4096u);
}

TEST(Process, OneThatIsKilledIsAnError) {
  std::string out;
  const auto end = shell_run("kill -9 $$", "", out);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().message, "sh: killed by signal 9");
}

TEST(Process, OneThatRunsTooLongIsKilled) {
  std::string out;
  const MonoTime begin = std::chrono::steady_clock::now();
  const auto end = shell_run("exec sleep 30", "", out, std::chrono::milliseconds(100));
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().message, "sh: no end after 100 ms; killed");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10 * second);
}

TEST(Process, OneThatClosesItsOutputAndStaysIsKilled) {
  std::string out;
  const auto end = shell_run("exec sleep 30 >&- 2>&-", "", out, std::chrono::milliseconds(100));
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().message, "sh: no end after 100 ms; killed");
}

TEST(Process, AProgramThatIsNotThereIsNamed) {
  const auto end = run_process({"no-such-program-here"}, "", second, [](std::string_view) {});
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().message,
            "no-such-program-here cannot be started: No such file or directory");
}

TEST(Process, SeesNothingOfOurEnvironment) {
  ::setenv("FAIRLEAD_TEST_SECRET", "1", 1);
  std::string out;
  ASSERT_TRUE(shell_run("echo \"[$FAIRLEAD_TEST_SECRET] $LC_ALL\"", "", out));
  EXPECT_EQ(out, "[] C\n");
}

}  // namespace
}  // namespace fairlead::dataplane::ipt
