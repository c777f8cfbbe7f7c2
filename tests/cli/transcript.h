// Transcripts: what a user types and what comes back, as text files, so that adding a case is
// adding lines. UPDATE_GOLDEN=1 in the environment rewrites the answers.
//
//   # a comment
//   @file manifests/web.yaml      a file below $DIR, up to @end
//   ...
//   @end
//   @agent nftables               other lines with @: tests/cli/scene.h
//   $ fairlead status -o json     a command; $DIR is the folder of this run
//   what it wrote to standard output
//   ! what it wrote to standard error
//   [1]                           the exit code, when it is not 0
//
// Times, versions and the folder are masked in what came back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fairlead::cli {

struct TranscriptStep {
  enum class Kind { words, file, scene, command };
  Kind kind = Kind::words;
  int line = 0;
  std::string head;  // the line; of a command without "$ ", of others without "@"
  std::string body;  // of a file its text, of a command what is expected
};

std::vector<TranscriptStep> parse_transcript(std::string_view text);
std::string to_text(const std::vector<TranscriptStep>& steps);

// "a 'b c' ''" -> {"a", "b c", ""}.
std::vector<std::string> shell_words(std::string_view line);

// "N ms ago" for "12 ms ago", and so on.
std::string masked(std::string text, const std::string& folder);

}  // namespace fairlead::cli
