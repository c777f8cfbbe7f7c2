// Every tests/cli/*.txt: commands as a user types them, and what comes back.
#include "tests/cli/transcript.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/text.h"
#include "tests/cli/scene.h"

namespace fairlead::cli {
namespace {

std::vector<std::string> transcripts() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(FAIRLEAD_SOURCE_DIR "/tests/cli")) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

class Transcript : public testing::TestWithParam<std::string> {};

TEST_P(Transcript, ComesBackAsWritten) {
  using Kind = TranscriptStep::Kind;
  const auto text = read_file(GetParam());
  ASSERT_TRUE(text);
  auto steps = parse_transcript(*text);
  const bool update = getenv("UPDATE_GOLDEN") != nullptr;
  ASSERT_TRUE(update || to_text(steps) == *text) << "blank lines: UPDATE_GOLDEN=1 sets them";
  Scene scene;
  for (TranscriptStep& step : steps) {
    const std::string where = cat(GetParam(), ':', step.line);
    if (step.kind == Kind::file) scene.write(step.head, step.body);
    if (step.kind == Kind::scene) {
      ASSERT_EQ(scene.set(step.head), "") << where;
    }
    if (step.kind != Kind::command) continue;
    const std::string got = scene.run(step.head);
    if (!update) {
      EXPECT_EQ(got, step.body) << where << ": " << step.head;
    }
    step.body = got;
  }
  if (update) std::ofstream(GetParam()) << to_text(steps);
}

INSTANTIATE_TEST_SUITE_P(, Transcript, testing::ValuesIn(transcripts()), [](const auto& each) {
  return std::filesystem::path(each.param).stem().string();
});

TEST(TranscriptText, ReadsBackAsItStands) {
  const std::string text =
      "# words\n\n@file a\n$ no command\n@end\n@agent x\n$ one\n# out\n\nmore\n! err\n[1]\n\n# "
      "w\n$ two\n";
  const auto steps = parse_transcript(text);
  EXPECT_EQ(to_text(steps), text);
  ASSERT_EQ(steps.size(), 7u);
  EXPECT_EQ(steps[2].body, "$ no command\n");
  EXPECT_EQ(steps[4].body, "# out\n\nmore\n! err\n[1]\n");
}

TEST(TranscriptText, WordsAreAsAShellSplitsThem) {
  EXPECT_EQ(shell_words("a  'b c' '' d'e'"), (std::vector<std::string>{"a", "b c", "", "de"}));
}

}  // namespace
}  // namespace fairlead::cli
