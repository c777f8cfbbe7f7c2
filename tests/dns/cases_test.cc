// Runs every file of tests/dns/cases: sections "-- corefile --", "-- cluster --" (YAML; absent: not
// synced), "-- internet --" (what upstreams know), "-- queries --":
//
// "-- cluster FILE --" begins with the objects of that file of the same folder.
//
//   ? NAME TYPE [tcp] [id=N] [edns=BYTES] [do] [class=N] [norecurse]
//   RCODE [tc] [aa|noaa]
//   NAME TTL TYPE DATA          in the answer section, in any order
//   + NAME TTL TYPE DATA        additional
//   soa ZONE TTL                the SOA of a negative answer, whose minimum is TTL (soa0: serial 0)
//
// A record may leave out its name: then it is the question's, spelt as asked.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "harness.h"

namespace fairlead::dns::testing {
namespace {

std::string case_folder() { return std::string(FAIRLEAD_SOURCE_DIR) + "/tests/dns/cases"; }

std::vector<std::string> case_files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(case_folder())) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

struct CaseFile {
  std::map<std::string, std::string> sections;
  int queries_line = 0;
};

CaseFile read_case(const std::string& path) {
  CaseFile file;
  std::ifstream in(path);
  std::string section, line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.starts_with("-- ") && line.ends_with(" --")) {
      section = line.substr(3, line.size() - 6);
      if (section.starts_with("cluster ")) {
        std::ifstream base(std::filesystem::path(path).parent_path() / section.substr(8));
        std::stringstream text;
        text << base.rdbuf();
        section = "cluster";
        file.sections[section] = text.str() + "---\n";
      }
      file.sections[section];
      if (section == "queries") file.queries_line = number;
    } else {
      file.sections[section] += line + "\n";
    }
  }
  return file;
}

struct Expectation {
  int line = 0;
  std::vector<std::string> question;  // the words after '?'
  std::vector<std::string> status;    // rcode and flags
  std::vector<std::string> answer, authority, additional;
};

std::string full_record(const std::vector<std::string>& parts, const std::string& owner) {
  std::vector<std::string> out = parts;
  if (!out.empty() && parse_int(out[0], 0)) out.insert(out.begin(), owner);
  return join(out, " ");
}

std::vector<Expectation> read_queries(const CaseFile& file) {
  std::vector<Expectation> out;
  int number = file.queries_line;
  std::istringstream in(file.sections.at("queries"));
  for (std::string line; std::getline(in, line);) {
    ++number;
    auto parts = words(line);
    if (parts.empty() || parts[0].starts_with('#')) continue;
    if (parts[0] == "?") {
      out.push_back({.line = number, .question = {parts.begin() + 1, parts.end()}});
      continue;
    }
    Expectation& last = out.back();
    if (last.status.empty()) {
      last.status = parts;
    } else if (parts[0] == "soa" || parts[0] == "soa0") {
      const uint32_t serial = parts[0] == "soa" ? test_serial : 0;
      const int64_t ttl = parse_int(parts[2]).value();
      last.authority.push_back(cat(parts[1], ' ', std::min<int64_t>(ttl, 300), " SOA ns.dns.",
                                   parts[1], " hostmaster.", parts[1], ' ', serial,
                                   " 7200 1800 86400 ", ttl));
    } else if (parts[0] == "+") {
      parts.erase(parts.begin());
      last.additional.push_back(full_record(parts, last.question[0]));
    } else {
      last.answer.push_back(full_record(parts, last.question[0]));
    }
  }
  return out;
}

std::vector<std::string> sorted(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  return lines;
}

void run(Harness& harness, const Expectation& expected) {
  AskOptions options;
  bool tcp = false;
  for (size_t i = 2; i < expected.question.size(); ++i) {
    const std::string& word = expected.question[i];
    const auto value = [&] { return parse_int(word.substr(word.find('=') + 1), 0).value(); };
    if (word == "tcp") tcp = true;
    if (word == "norecurse") options.recursion_desired = false;
    if (word == "do") options.dnssec_ok = options.edns = true;
    if (word.starts_with("id=")) options.id = static_cast<uint16_t>(value());
    if (word.starts_with("class=")) options.klass = static_cast<uint16_t>(value());
    if (word.starts_with("edns=")) {
      options.edns = true;
      options.udp_bytes = static_cast<uint16_t>(value());
    }
  }
  const Reply reply = harness.query(expected.question[0], expected.question[1], options, tcp);
  const std::string flags = ' ' + reply.flags + ' ';
  EXPECT_EQ(reply.rcode, expected.status[0]);
  const bool truncated = std::count(expected.status.begin(), expected.status.end(), "tc") > 0;
  EXPECT_EQ(flags.find(" tc ") != std::string::npos, truncated) << reply.flags;
  for (const auto& word : expected.status) {
    if (word != "aa" && word != "noaa") continue;
    EXPECT_EQ(flags.find(" aa ") != std::string::npos, word == "aa") << reply.flags;
  }
  EXPECT_EQ(flags.find(" rd ") != std::string::npos, options.recursion_desired);
  EXPECT_EQ(reply.edns, options.edns);
  EXPECT_EQ(reply.dnssec_ok, options.dnssec_ok);
  EXPECT_EQ(sorted(reply.answer), sorted(expected.answer));
  EXPECT_EQ(sorted(reply.authority), sorted(expected.authority));
  EXPECT_EQ(sorted(reply.additional), sorted(expected.additional));
}

class Cases : public ::testing::TestWithParam<std::string> {};

TEST_P(Cases, AnswerAsWritten) {
  const std::string path = cat(case_folder(), '/', GetParam(), ".txt");
  const CaseFile file = read_case(path);
  ASSERT_TRUE(file.sections.contains("corefile"));
  Harness harness(file.sections.at("corefile"), {*Ip::parse("10.9.0.1"), *Ip::parse("fd00:9::1")});
  if (file.sections.contains("cluster")) harness.publish(file.sections.at("cluster"), path);
  if (file.sections.contains("internet")) {
    std::istringstream in(file.sections.at("internet"));
    for (std::string line; std::getline(in, line);) {
      const auto parts = words(line);
      if (parts.size() == 2 && parts[0] == "silent") {
        harness.internet().silent.push_back(parts[1]);
      } else if (parts.size() == 2 && parts[0] == "broken") {
        harness.internet().broken.push_back(parts[1]);
      } else if (!parts.empty()) {
        harness.internet().records.push_back(join(parts, " "));
      }
    }
  }
  for (const auto& expected : read_queries(file)) {
    SCOPED_TRACE(cat(path, ':', expected.line, ": ", join(expected.question, " ")));
    run(harness, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Cases, ::testing::ValuesIn(case_files()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace fairlead::dns::testing
