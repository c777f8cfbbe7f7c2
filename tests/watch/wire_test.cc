#include "watch/wire.h"

#include <gtest/gtest.h>

#include "watch/backoff.h"
#include "watch/line_buffer.h"

namespace fairlead::watch {
namespace {

using api::Kind;

// One line that says everything about an event.
std::string describe(Kind kind, std::string_view line) {
  const auto event = parse_event(kind, line);
  if (!event) return "garbage: " + event.error().message;
  std::string out(to_string(event->type));
  if (!event->resource_version.empty()) out += " @" + event->resource_version;
  if (!event->key.name.empty()) out += " " + event->key.to_string();
  if (event->object) out += " decoded";
  if (event->bad) out += " bad " + event->bad->key.to_string() + ": " + event->bad->error;
  if (event->code != 0) out += " " + std::to_string(event->code);
  if (!event->message.empty()) out += " " + event->message;
  return out;
}

TEST(WatchEvents, AreParsedOrRefused) {
  struct Case {
    std::string_view line, expected;
  };
  const Case cases[] = {
      {R"({"type": "ADDED", "object": {"kind": "Service", "apiVersion": "v1", "metadata":
          {"name": "a", "namespace": "n", "resourceVersion": "5"}}})",
       "added @5 n/a decoded"},
      {R"({"type": "MODIFIED", "object": {"metadata": {"name": "a", "resourceVersion": "5"}}})",
       "modified @5 default/a decoded"},
      {R"({"type": "DELETED", "object": {"metadata": {"name": "a", "resourceVersion": "6"},
          "spec": "anything"}})",
       "deleted @6 default/a"},
      {R"({"type": "DELETED", "object": {"metadata": {"resourceVersion": "6"}}})",
       "garbage: a deletion of an object without a name"},
      {R"({"type": "BOOKMARK", "object": {"kind": "Service", "metadata":
          {"resourceVersion": "7", "creationTimestamp": null}}})",
       "bookmark @7"},
      {R"({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired",
          "message": "too old"}})",
       "error 410 too old"},
      {R"({"type": "ERROR", "object": {"reason": "Gone"}})", "error 410 code 410"},
      {R"({"type": "ERROR", "object": {"code": 500, "message": "a\nb"}})", "error 500 a b"},
      {R"({"type": "ERROR", "object": {}})", "error code 0"},
      {R"({"type": "ERROR", "object": {"code": 4294967706}})", "error code 0"},
      {R"({"type": "ERROR", "object": {"code": -410, "message": 7}})", "error code 0"},
      {R"({"type": "ERROR", "object": {"code": "410", "reason": ["Gone"]}})", "error code 0"},
      {R"({"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "5"},
          "spec": {"ports": [{"port": 0}]}}})",
       "added @5 default/a bad default/a: Service default/a: spec.ports[0].port: 0 is not in "
       "1..65535"},
      {R"({"type": "ADDED", "object": {"metadata": {"resourceVersion": "5"}}})",
       "added @5 bad : Service without a name: metadata.name: missing"},
      {R"({"type": "ADDED", "object": {"kind": "Pod", "metadata": {"resourceVersion": "5"}}})",
       "garbage: an event of kind 'Pod' in a watch of services"},
      {R"({"type": "ADDED", "object": {"kind": "Service", "apiVersion": "serving.knative.dev/v1",
          "metadata": {"name": "a", "resourceVersion": "5"}}})",
       "garbage: an event of kind 'Service' in a watch of services"},
      {R"({"type": "ADDED", "object": {"metadata": {"name": "a"}}})",
       "garbage: an event whose object has no metadata.resourceVersion"},
      {R"({"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": 5}}})",
       "garbage: an event whose object has no metadata.resourceVersion"},
      {R"({"type": "added", "object": {}})",
       R"(garbage: not a watch event: expected {"type": ..., "object": {...}})"},
      {R"({"type": "ADDED"})",
       R"(garbage: not a watch event: expected {"type": ..., "object": {...}})"},
      {R"([])", R"(garbage: not a watch event: expected {"type": ..., "object": {...}})"},
      {"<html>", "garbage: not a watch event: invalid JSON at byte 0: syntax error"},
      {"", "garbage: not a watch event: invalid JSON at byte 0: incomplete JSON"},
  };
  for (const Case& c : cases) EXPECT_EQ(describe(Kind::service, c.line), c.expected) << c.line;
}

TEST(WatchEvents, LongServerMessagesAreCut) {
  const std::string line = R"({"type": "ERROR", "object": {"code": 500, "message": ")" +
                           std::string(5000, 'x') + R"("}})";
  EXPECT_LT(describe(Kind::pod, line).size(), 400u);
}

Result<ListPage> parse_list(std::string_view body, size_t step) {
  ListParser parser(Kind::service);
  for (size_t at = 0; at < body.size(); at += step) {
    if (auto fed = parser.feed(body.substr(at, step)); !fed) return std::unexpected(fed.error());
  }
  return parser.finish();
}

TEST(ListPages, AreReadInAnyPieces) {
  const std::string_view body = R"({"kind": "ServiceList", "apiVersion": "v1",
    "metadata": {"resourceVersion": "12", "continue": "tok\u0065n", "remainingItemCount": 3},
    "items": [{"metadata": {"name": "a", "namespace": "n"}},
              {"metadata": {"name": "b"}, "spec": {"ports": [{"port": -1}]}},
              {"metadata": {"name": "c"}}]})";
  for (const size_t step : {1u, 7u, 10000u}) {
    const auto page = parse_list(body, step);
    ASSERT_TRUE(page) << page.error().message;
    EXPECT_EQ(page->resource_version, "12");
    EXPECT_EQ(page->continue_token, "token");
    ASSERT_EQ(page->objects.size(), 2u);
    EXPECT_EQ(api::meta_of(page->objects[0]).key, (api::ObjectKey{"n", "a"}));
    ASSERT_EQ(page->bad.size(), 1u);
    EXPECT_EQ(page->bad[0].key.name, "b");
  }
}

TEST(ListPages, HaveALimit) {
  ListParser parser(Kind::service);
  const std::string blanks(1024 * 1024, ' ');
  Result<void> fed;
  for (int i = 0; i < 65 && fed; ++i) fed = parser.feed(blanks);
  ASSERT_FALSE(fed);
  EXPECT_TRUE(parser.too_large());
}

TEST(StatusMessages, UseTheServersWordsIfThereAreAny) {
  EXPECT_EQ(status_message(403, R"({"kind": "Status", "message": "no\ttoken"})"),
            "403 Forbidden: no token");
  EXPECT_EQ(status_message(502, "<html>"), "502 Bad Gateway");
  EXPECT_EQ(status_message(404, ""), "404 Not Found");
}

TEST(Lines, ArePutTogetherFromAnyPieces) {
  const std::string_view text = "one\n\ntwo two\nthree";
  for (size_t step = 1; step <= text.size(); ++step) {
    LineBuffer lines(100);
    std::vector<std::string> seen;
    for (size_t at = 0; at < text.size(); at += step) {
      EXPECT_TRUE(lines.feed(text.substr(at, step), [&](std::string_view line) {
        seen.emplace_back(line);
        return true;
      }));
    }
    EXPECT_EQ(seen, (std::vector<std::string>{"one", "", "two two"}));
    EXPECT_TRUE(lines.inside_line());
  }
}

TEST(Lines, StopWhenTheVisitorSaysSo) {
  LineBuffer lines(100);
  int seen = 0;
  EXPECT_FALSE(lines.feed("a\nb\nc\n", [&](std::string_view) { return ++seen < 2; }));
  EXPECT_EQ(seen, 2);
  EXPECT_FALSE(lines.too_long());
}

TEST(Lines, HaveALimit) {
  const auto keep = [](std::string_view) { return true; };
  LineBuffer in_pieces(4);
  EXPECT_TRUE(in_pieces.feed("abcd", keep));
  EXPECT_FALSE(in_pieces.feed("e", keep));
  EXPECT_TRUE(in_pieces.too_long());
  in_pieces.reset();
  EXPECT_FALSE(in_pieces.too_long());
  EXPECT_TRUE(in_pieces.feed("abcd\n", keep));
  EXPECT_FALSE(in_pieces.feed("abcde\n", keep));
}

TEST(Backoff, DoublesWithJitterUpToItsLimit) {
  using std::chrono::milliseconds;
  Backoff backoff(milliseconds(100), milliseconds(1000), 7);
  for (const int step : {100, 200, 400, 800, 1000, 1000}) {
    const Duration wait = backoff.next();
    EXPECT_GE(wait, milliseconds(step / 2));
    EXPECT_LE(wait, milliseconds(step));
  }
  backoff.reset();
  EXPECT_LE(backoff.next(), milliseconds(100));
}

}  // namespace
}  // namespace fairlead::watch
