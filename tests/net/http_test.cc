#include "net/http.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "net/http_writer.h"

namespace fairlead::net {
namespace {

TEST(Headers, CompareNamesWithoutCaseAndKeepOrder) {
  Headers headers;
  headers.add("Accept", "one");
  headers.add("X-Other", "x");
  headers.add("accept", "two");
  EXPECT_EQ(headers.get("ACCEPT"), "one");
  EXPECT_TRUE(headers.has("aCCept"));
  EXPECT_FALSE(headers.has("Accept-"));
  EXPECT_EQ(headers.get("missing"), "");
  EXPECT_EQ(headers.size(), 3u);
  headers.set("Accept", "three");
  EXPECT_EQ(headers.size(), 2u);
  EXPECT_EQ(headers.begin()->first, "X-Other");
  EXPECT_EQ(headers.get("accept"), "three");
  headers.remove("x-other");
  EXPECT_EQ(headers.size(), 1u);
}

TEST(Headers, TokensOfLists) {
  Headers headers;
  headers.add("Connection", "keep-alive , Upgrade");
  headers.add("connection", "X-Hop");
  for (const std::string_view token : {"keep-alive", "upgrade", "x-hop"}) {
    EXPECT_TRUE(has_token(headers, "Connection", token)) << token;
  }
  for (const std::string_view token : {"keep", "alive", "close", ""}) {
    EXPECT_FALSE(has_token(headers, "Connection", token)) << token;
  }
}

TEST(HttpRequest, PathAndQuery) {
  struct Row {
    std::string target, path, query;
  };
  const Row table[] = {{"/", "/", ""},          {"/a/b", "/a/b", ""},    {"/a?b=c", "/a", "b=c"},
                       {"/a?", "/a", ""},       {"/a?b?c", "/a", "b?c"}, {"*", "*", ""},
                       {"/a%3Fb", "/a%3Fb", ""}};
  for (const Row& row : table) {
    const HttpRequest request{.target = row.target};
    EXPECT_EQ(request.path(), row.path) << row.target;
    EXPECT_EQ(request.query(), row.query) << row.target;
  }
}

TEST(Query, IsTakenApart) {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  const std::pair<std::string, Pairs> table[] = {
      {"", {}},
      {"a=1&b=x%20y", {{"a", "1"}, {"b", "x y"}}},
      {"a+b=c+d", {{"a b", "c d"}}},
      {"a=%2B", {{"a", "+"}}},
      {"a", {{"a", ""}}},
      {"a=", {{"a", ""}}},
      {"=b", {{"", "b"}}},
      {"a=b=c", {{"a", "b=c"}}},
      {"&&a=1&", {{"a", "1"}}},
      {"a=1&a=2", {{"a", "1"}, {"a", "2"}}},
      {"labelSelector=app%3Dweb%2Ctier%21%3Dx", {{"labelSelector", "app=web,tier!=x"}}},
      {"a=%zz&b=%4", {{"a", "%zz"}, {"b", "%4"}}},
  };
  for (const auto& [text, expected] : table) EXPECT_EQ(parse_query(text), expected) << text;
}

TEST(Percent, DecodesAndEncodes) {
  const std::pair<std::string, std::string> decoded[] = {
      {"", ""},
      {"a%20b", "a b"},
      {"%41%42", "AB"},
      {"%e2%82%ac", "\xe2\x82\xac"},
      {"%", "%"},
      {"%4", "%4"},
      {"%4g", "%4g"},
      {"%%41", "%A"},
      {"a+b", "a+b"},
      {"%00", std::string(1, '\0')},
      {"%C3%A4", "\xc3\xa4"},
  };
  for (const auto& [text, expected] : decoded) EXPECT_EQ(percent_decode(text), expected) << text;
  EXPECT_EQ(percent_encode("aZ0-._~"), "aZ0-._~");
  EXPECT_EQ(percent_encode("a b/c?d=&%+\xc3"), "a%20b%2Fc%3Fd%3D%26%25%2B%C3");
  std::string every;
  for (int c = 0; c < 256; ++c) every += static_cast<char>(c);
  EXPECT_EQ(percent_decode(percent_encode(every)), every);
}

TEST(Status, HasAPhrase) {
  const std::pair<int, std::string_view> table[] = {
      {100, "Continue"},
      {200, "OK"},
      {201, "Created"},
      {404, "Not Found"},
      {409, "Conflict"},
      {410, "Gone"},
      {422, "Unprocessable Content"},
      {511, "Network Authentication Required"},
      {99, "Unknown"},
      {299, "Unknown"},
      {600, "Unknown"},
  };
  for (const auto& [status, phrase] : table) EXPECT_EQ(reason_phrase(status), phrase) << status;
  EXPECT_EQ(HttpResponse::json(201, "{}").headers.get("content-type"), "application/json");
  EXPECT_EQ(HttpResponse::text(400, "no").body, "no");
}

TEST(ResponseHead, FramesAsToldWhateverTheHandlerSays) {
  HttpResponse response{.status = 200};
  response.headers.add("Content-Length", "99");
  response.headers.add("transfer-encoding", "gzip");
  response.headers.add("Connection", "upgrade");
  response.headers.add("X-A", "b\r\nEvil: yes");
  response.headers.add("Not a token", "x");
  const std::string common = "HTTP/1.1 200 OK\r\nX-A: b  Evil: yes\r\nDate: now\r\n";
  const std::pair<ResponseFraming, std::string> table[] = {
      {{.content_length = 5}, "Content-Length: 5\r\n\r\n"},
      {{.content_length = 0}, "Content-Length: 0\r\n\r\n"},
      {{.chunked = true}, "Transfer-Encoding: chunked\r\n\r\n"},
      {{.keep_alive = false}, "Connection: close\r\n\r\n"},
      {{.minor_version = 0, .content_length = 1},
       "Content-Length: 1\r\nConnection: keep-alive\r\n\r\n"},
  };
  for (const auto& [framing, rest] : table) {
    EXPECT_EQ(response_head(response, framing, "now"), common + rest);
  }
  response.headers.add("Date", "then");
  EXPECT_EQ(response_head(response, {}, "now").find("Date: now"), std::string::npos);
}

TEST(Chunks, HaveTheirSizeInHex) {
  std::string out;
  append_chunk(out, "a");
  append_chunk(out, std::string(255, 'b'));
  EXPECT_EQ(out, "1\r\na\r\nff\r\n" + std::string(255, 'b') + "\r\n");
}

TEST(HttpDate, IsImfFixdate) {
  EXPECT_EQ(http_date(WallTime(std::chrono::seconds(784111777))), "Sun, 06 Nov 1994 08:49:37 GMT");
}

}  // namespace
}  // namespace fairlead::net
