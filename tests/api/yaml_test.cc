#include "api/yaml.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::api {
namespace {

// All documents as one JSON array, or the error.
std::string as_json(std::string_view text, const YamlLimits& limits = {}) {
  const auto documents = parse_yaml(text, "f.yaml", limits);
  if (!documents) return documents.error().message;
  json::array all;
  for (const auto& document : *documents) all.push_back(document.value);
  return json::serialize(all);
}

TEST(Yaml, ResolvesScalarsAsKubectlDoes) {
  const std::string_view cases[][2] = {
      {"yes", "true"},
      {"Yes", "true"},
      {"YES", "true"},
      {"yEs", R"("yEs")"},
      {"on", "true"},
      {"y", "true"},
      {"true", "true"},
      {"True", "true"},
      {"TRUE", "true"},
      {"tRUE", R"("tRUE")"},
      {"no", "false"},
      {"off", "false"},
      {"n", "false"},
      {"N", "false"},
      {"false", "false"},
      {"truely", R"("truely")"},
      {"null", "null"},
      {"~", "null"},
      {"Null", "null"},
      {"nULL", R"("nULL")"},
      {"\"yes\"", R"("yes")"},
      {"'no'", R"("no")"},
      {"\"1\"", R"("1")"},
      {"!!str 1", R"("1")"},
      {"0", "0"},
      {"42", "42"},
      {"-7", "-7"},
      {"+7", "7"},
      {"1_000", "1000"},
      {"0x1F", "31"},
      {"0b101", "5"},
      {"0o17", "15"},
      {"017", "15"},
      {"08", "8"},
      {"-0x10", "-16"},
      {"9223372036854775807", "9223372036854775807"},
      {"-9223372036854775808", "-9223372036854775808"},
      {"18446744073709551615", "18446744073709551615"},
      {"1.5", "1.5E0"},
      {".5", "5E-1"},
      {"1e3", "1000"},
      {"1.0", "1"},
      {"-1.25e-2", "-1.25E-2"},
      {"1.2.3", R"("1.2.3")"},
      {"10.0.0.1", R"("10.0.0.1")"},
      {"1e", R"("1e")"},
      {"-", "[null]"},
      {"-x", R"("-x")"},
      {"100m", R"("100m")"},
      {"0x", R"("0x")"},
      {"2026-01-02", R"("2026-01-02")"},
      {"12:30:45", R"("12:30:45")"},
      {"web:80", R"("web:80")"},
      {"=", R"("=")"},
      {"!!int 5", "5"},
      {"!!bool yes", "true"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(as_json(cat("a: ", text == "-" ? "\n-" : text)), cat("[{\"a\":", expected, "}]"))
        << text;
  }
}

TEST(Yaml, TurnsKeysIntoStrings) {
  EXPECT_EQ(as_json("1: a\ntrue: b\n1.5: c\n'x y': d\n"),
            R"([{"1":"a","true":"b","1.5":"c","x y":"d"}])");
  // Floats as Go's strconv.FormatFloat(f, 'g', -1, 32) has them.
  EXPECT_EQ(as_json("1.10: a\n0.1: b\n-.5: c\n1.25e-7: d\n1234567.5: e\n1e22: f\n2.0: g\n"),
            R"([{"1.1":"a","0.1":"b","-0.5":"c","1.25e-07":"d","1.2345675e+06":"e",)"
            R"("1e+22":"f","2":"g"}])");
  EXPECT_EQ(as_json("1.5: a\n'1.5': b\n"), "f.yaml:2: duplicate key '1.5'");
}

TEST(Yaml, ReadsDocumentsAndLeavesOutEmptyOnes) {
  EXPECT_EQ(as_json(""), "[]");
  EXPECT_EQ(as_json("# only a comment\n"), "[]");
  EXPECT_EQ(as_json("---\n---\na: 1\n---\n\n---\nb: [1, {c: 2}]\n...\n"),
            R"([{"a":1},{"b":[1,{"c":2}]}])");
  EXPECT_EQ(as_json("a: |\n  one\n  two\nb: >\n  one\n  two\n"),
            R"([{"a":"one\ntwo\n","b":"one two\n"}])");
  EXPECT_EQ(as_json("\xef\xbb\xbf"
                    "a: \"\\u00e9\xc3\xa9\""),
            "[{\"a\":\"\xc3\xa9\xc3\xa9\"}]");
}

TEST(Yaml, ReadsJsonByTheSameDoor) {
  EXPECT_EQ(as_json("{\n\t\"a\": \"x\\/y\\ud83d\\ude00\", \"b\": yes}"),
            "f.yaml:2: invalid JSON at byte 33: syntax error");
  EXPECT_EQ(as_json("{\n\t\"a\": \"x\\/y\\ud83d\\ude00\"}"), "[{\"a\":\"x/y\xf0\x9f\x98\x80\"}]");
  EXPECT_EQ(as_json("{a: 1, b: {c: yes}}"), R"([{"a":1,"b":{"c":true}}])");
  EXPECT_EQ(as_json("{\n \"a\": 1,\n \"b\": {\n  \"c\": 1,\n  \"c\": 2}}"),
            "f.yaml:3: duplicate key 'b.c'");
}

TEST(Yaml, ResolvesAliasesAndMerges) {
  EXPECT_EQ(as_json("a: &x {k: 1}\nb: *x\nc: &y [1, *x]\nd: *y\n"),
            R"([{"a":{"k":1},"b":{"k":1},"c":[1,{"k":1}],"d":[1,{"k":1}]}])");
  EXPECT_EQ(as_json("base: &b {k: 1, l: 2}\nuse:\n  <<: *b\n  k: 3\n"),
            R"([{"base":{"k":1,"l":2},"use":{"k":3,"l":2}}])");
  EXPECT_EQ(as_json("a: &a {k: 1}\nb: &b {k: 2, m: 3}\nc: {<<: [*a, *b]}\n"),
            R"([{"a":{"k":1},"b":{"k":2,"m":3},"c":{"k":1,"m":3}}])");
  EXPECT_EQ(as_json("'<<': 1\n"), R"([{"<<":1}])");
}

TEST(Yaml, ErrorsSayFileAndLine) {
  const std::string_view cases[][2] = {
      {"a: 1\nb: 2\na: 3\n", "f.yaml:3: duplicate key 'a'"},
      {"a:\n  1: x\n  \"1\": y\n", "f.yaml:3: duplicate key '1'"},
      {"a: [1, 2\n", "f.yaml:2: end of sequence flow not found"},
      {"a: 1\n b: 2\n", "f.yaml:2: illegal map value"},
      {"a: \"open\n", "f.yaml:2: illegal document indicator in scalar"},
      {"a: 'open", "f.yaml:1: illegal EOF in scalar"},
      {"a: *nobody\n", "f.yaml:1: the referenced anchor is not defined"},
      {"a: 1\n? [x]\n: 2\n", "f.yaml:2: a key must be a word, not a list or a map"},
      {"a: 1\n~: 2\n", "f.yaml:2: a key must be a word, not null"},
      {"a: .inf\n", "f.yaml:1: infinity and NaN have no JSON form"},
      {"a: -.INF\n", "f.yaml:1: infinity and NaN have no JSON form"},
      {"\na: !secret x\n", "f.yaml:2: the tag '!secret' is not supported"},
      {"a: !!binary AAEC\n", "f.yaml:1: the tag 'binary' is not supported"},
      {"a: !thing {}\n", "f.yaml:1: the tag '!thing' is not supported"},
      {"a: &x [*x]\n", "f.yaml:1: an alias to itself"},
      {"a: &x 1\n*x : 2\n", "f.yaml:2: an alias cannot be a key"},
      {"a: {<<: 1}\n", "f.yaml:1: << expects a map or a list of maps"},
      {"a: {<<: [1]}\n", "f.yaml:1: << expects a map or a list of maps"},
      {"a: b\nc: \xff\n", "f.yaml:2: not UTF-8 text"},
      {",x,x]\nb: 1\n", "f.yaml:1: unexpected text: expected a key, a value or ---"},
      {"a: [1]\n]\n", "f.yaml:2: illegal flow end"},
      {"a: 1\n---\nb: 1\nb: 2\n", "f.yaml:4: duplicate key 'b'"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(as_json(text), expected) << text;
}

TEST(Yaml, HoldsItsLimits) {
  EXPECT_EQ(as_json("a: 12345678", {.max_bytes = 10}), "f.yaml: larger than 10 bytes");
  EXPECT_EQ(as_json("a: {b: {c: 1}}", {.max_depth = 2}), "f.yaml:1: nested deeper than 2");
  EXPECT_EQ(as_json("[1, 2, 3]", {.max_nodes = 3}), "f.yaml:1: more than 3 values");
  EXPECT_EQ(as_json(std::string(65, '[') + std::string(65, ']')),
            "f.yaml:1: nested deeper than 64");
  EXPECT_TRUE(as_json(std::string(100'000, '[')).starts_with("f.yaml:1: "));
}

// Short texts whose aliases make deep values: what reads them later has the same limit.
TEST(Yaml, CountsTheDepthOfWhatAnAliasStandsFor) {
  const YamlLimits limits{.max_depth = 4};
  EXPECT_EQ(as_json("a: &a [[x]]\nb: [*a]\n", limits), R"([{"a":[["x"]],"b":[[["x"]]]}])");
  EXPECT_EQ(as_json("a: &a [[x]]\nb:\n- [*a]\n", limits), "f.yaml:3: nested deeper than 4");
  EXPECT_EQ(as_json("a: &a [[x]]\nb: &b [*a]\nc: [*b]\n", limits),
            "f.yaml:3: nested deeper than 4");
  EXPECT_EQ(as_json("a: &a {k: {l: x}}\nb: {c: {<<: *a}}\n", limits),
            R"([{"a":{"k":{"l":"x"}},"b":{"c":{"k":{"l":"x"}}}}])");
}

TEST(Yaml, RefusesAliasesThatMultiply) {
  std::string laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n";
  for (char c = 'b'; c < 'k'; ++c) {
    laughs += cat(c, ": &", c, " [");
    for (int i = 0; i < 9; ++i) laughs += cat(i ? ", *" : "*", static_cast<char>(c - 1));
    laughs += "]\n";
  }
  EXPECT_NE(as_json(laughs).find("anchors and aliases add more than 1048576 bytes"),
            std::string::npos);
  std::string merges = "a: &a {x: {p: 1}, y: {p: 1}}\n";
  for (char c = 'b'; c < 'z'; ++c) {
    const auto last = static_cast<char>(c - 1);
    merges += cat(c, ": &", c, " {x: {<<: *", last, "}, y: {<<: *", last, "}}\n");
  }
  EXPECT_NE(as_json(merges).find("anchors and aliases add"), std::string::npos);
}

TEST(Yaml, FindsTheLineOfAPath) {
  const std::string_view yaml =
      "kind: Service\n"           // 1
      "metadata:\n"               // 2
      "  labels:\n"               // 3
      "    example.com/a.b: x\n"  // 4
      "    example.com/a: y\n"    // 5
      "spec:\n"                   // 6
      "  ports:\n"                // 7
      "  - name: a\n"             // 8
      "    port: 80\n"            // 9
      "  -\n"                     // 10
      "    port: 81\n";           // 11
  struct Case {
    std::string_view path;
    int line;
  };
  const Case cases[] = {
      {"", 1},
      {"kind", 1},
      {"metadata", 2},
      {"metadata.labels.example.com/a.b", 4},
      {"metadata.labels[example.com/a.b]", 4},
      {"metadata.labels[example.com/a]", 5},
      {"metadata.labels.example.com/a", 5},
      {"spec.ports[0].port", 9},
      {"spec.ports[0]", 8},
      {"spec.ports[1].port", 11},
      {"spec.ports[1].name", 11},
      {"spec.ports[2].port", 7},
      {"spec.nothing.below", 6},
      {"nothing", 1},
      {"spec.ports[x]", 7},
      {"spec.ports[", 7},
  };
  const auto documents = parse_yaml(yaml, "f");
  ASSERT_TRUE(documents);
  for (const Case& c : cases) EXPECT_EQ(documents->front().line_of(c.path), c.line) << c.path;
}

TEST(Yaml, FindsLinesInJsonAndBehindMerges) {
  const auto json =
      parse_yaml("{\n\"a\": [1,\n {\"b\\\"\": \"}\\\\\",\n\"c\": 2}],\n\"d\": {}}", "f");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->front().line_of("a"), 2);
  EXPECT_EQ(json->front().line_of("a[1]"), 3);
  EXPECT_EQ(json->front().line_of("a[1].c"), 4);
  EXPECT_EQ(json->front().line_of("d"), 5);
  const auto merged = parse_yaml("a: &a\n  k: 1\nb:\n  <<: *a\n  l: 2\n", "f");
  ASSERT_TRUE(merged);
  EXPECT_EQ(merged->front().line_of("b.l"), 5);
  EXPECT_EQ(merged->front().line_of("b.k"), 2);
}

}  // namespace
}  // namespace fairlead::api
