#include "tests/cli/transcript.h"

#include <regex>

#include "base/text.h"

namespace fairlead::cli {
namespace {

using Kind = TranscriptStep::Kind;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string without_last_blanks(std::string text) {
  while (text.ends_with("\n\n")) text.pop_back();
  return text == "\n" ? "" : text;
}

}  // namespace

std::vector<TranscriptStep> parse_transcript(std::string_view text) {
  std::vector<TranscriptStep> steps;
  bool in_file = false, in_answer = false, after_blank = true;
  int number = 0;
  if (text.ends_with('\n')) text.remove_suffix(1);
  for (const std::string_view line : split(text, '\n')) {
    ++number;
    // Metrics begin with '#', too, but not behind an empty line.
    const bool comment = line.starts_with('#') && (!in_answer || after_blank);
    const bool begins = line.starts_with("$ ") || line.starts_with('@') || comment;
    after_blank = line.empty();
    if (in_file) {
      in_file = line != "@end";
      if (in_file) steps.back().body += cat(line, '\n');
    } else if (in_answer && !begins) {
      steps.back().body += cat(line, '\n');
    } else if (line.starts_with("$ ")) {
      steps.push_back({Kind::command, number, std::string(line.substr(2)), ""});
      in_answer = true;
    } else if (line.starts_with("@file ")) {
      steps.push_back({Kind::file, number, std::string(line.substr(6)), ""});
      in_file = true, in_answer = false;
    } else {
      const bool scene = line.starts_with('@');
      steps.push_back({scene ? Kind::scene : Kind::words, number,
                       std::string(scene ? line.substr(1) : line), ""});
      in_answer = false;
    }
  }
  for (TranscriptStep& step : steps) {
    if (step.kind == Kind::command) step.body = without_last_blanks(std::move(step.body));
  }
  return steps;
}

std::string to_text(const std::vector<TranscriptStep>& steps) {
  std::string out;
  for (const TranscriptStep& step : steps) {
    if (step.kind == Kind::words) out += cat(step.head, '\n');
    if (step.kind == Kind::scene) out += cat('@', step.head, '\n');
    if (step.kind == Kind::file) out += cat("@file ", step.head, '\n', step.body, "@end\n");
    if (step.kind != Kind::command) continue;
    out += cat("$ ", step.head, '\n', step.body, &step == &steps.back() ? "" : "\n");
  }
  return out;
}

std::vector<std::string> shell_words(std::string_view line) {
  std::vector<std::string> words;
  bool quoted = false, open = false;
  for (const char c : line) {
    if (c == '\'') {
      quoted = !quoted;
      if (!open) words.emplace_back();
      open = true;
    } else if (c == ' ' && !quoted) {
      open = false;
    } else {
      if (!open) words.emplace_back();
      open = true;
      words.back() += c;
    }
  }
  return words;
}

std::string masked(std::string text, const std::string& folder) {
  text = replaced(std::move(text), folder, "$DIR");
  static const std::pair<std::regex, const char*> masks[] = {
      {std::regex(R"(fairlead \d+\.\d+\.\d+)"), "fairlead V"},
      {std::regex(R"("version":"[^"]*")"), R"("version":"V")"},
      {std::regex(R"(\d+ (ms|s|min) ago)"), "N $1 ago"},
      {std::regex(R"(N (s|min) ago)"), "N ms ago"},
      {std::regex(R"(up \d+ s)"), "up N s"},
      {std::regex(R"(127\.\d+\.\d+\.1:(10\d+))"), "LOCAL:$1"},
      {std::regex(R"(took \d+ us)"), "took N us"},
      {std::regex(R"(\d+ s so far)"), "N s so far"},
      {std::regex(R"re("(\w*(Ms|MsAgo|Us|Seconds))":-?\d+)re"), R"("$1":N)"},
      {std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z)"), "TIME"},
      {std::regex(R"(^(process_\w+) [\d.]+)", std::regex::multiline), "$1 N"},
  };
  for (const auto& [pattern, mask] : masks) text = std::regex_replace(text, pattern, mask);
  return text;
}

}  // namespace fairlead::cli
