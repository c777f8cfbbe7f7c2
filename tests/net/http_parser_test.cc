#include "net/http_parser.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::net {
namespace {

using State = HttpParser::State;

struct Parsed {
  State state = State::head;
  HttpParser::Head head;
  std::string body;
  std::string rest;
  int status = 0;
  std::string error;
};

// Feeds `text` in pieces of `step` bytes, keeping what was not used, as a connection does.
Parsed parse(HttpParser parser, std::string_view text, size_t step, bool eof = false) {
  Parsed got;
  std::string buffer;
  while (!text.empty() || !buffer.empty()) {
    buffer += text.substr(0, step);
    const bool last = text.size() <= step;
    text.remove_prefix(std::min(step, text.size()));
    for (bool progress = true; progress && !buffer.empty();) {
      const State before = parser.state();
      const size_t used = parser.feed(buffer, got.body);
      EXPECT_LE(used, buffer.size());
      buffer.erase(0, used);
      progress = (used > 0 || parser.state() != before) && parser.state() != State::done &&
                 parser.state() != State::failed;
    }
    if (parser.state() == State::done || parser.state() == State::failed || last) break;
  }
  if (eof && parser.state() != State::done && parser.state() != State::failed) parser.feed_eof();
  got.state = parser.state();
  got.head = parser.head();
  got.rest = buffer + std::string(text);
  got.status = parser.error_status();
  got.error = parser.error();
  return got;
}

HttpParser request_parser(HttpParser::Limits limits = {}) {
  return HttpParser(HttpParser::Kind::request, limits);
}

std::string line_of(const HttpParser::Head& head) {
  std::string out = cat(head.method, " ", head.target, " 1.", head.minor_version);
  for (const auto& [name, value] : head.headers) out += cat(" | ", name, "=", value);
  return out;
}

struct Accepted {
  std::string name, text, head, body;
  bool keep_alive = true;
  std::string rest = {};
};

const std::vector<Accepted>& accepted() {
  static const std::vector<Accepted> table = {
      {"smallest", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / 1.1 | Host=a", ""},
      {"1.0", "GET / HTTP/1.0\r\n\r\n", "GET / 1.0", "", false},
      {"1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
       "GET / 1.0 | Connection=keep-alive", "", true},
      {"close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
       "GET / 1.1 | Host=a | Connection=x, Close", "", false},
      {"empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / 1.1 | Host=a", ""},
      {"empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / 1.1 | Host=", ""},
      {"host with port", "GET / HTTP/1.1\r\nHost: a.b-c:8080\r\n\r\n",
       "GET / 1.1 | Host=a.b-c:8080", ""},
      {"IPv6 host", "GET / HTTP/1.1\r\nHost: [fd00::1]:80\r\n\r\n", "GET / 1.1 | Host=[fd00::1]:80",
       ""},
      {"spaces around a value", "GET / HTTP/1.1\r\nHost: a\r\nX:  \t v w \t\r\n\r\n",
       "GET / 1.1 | Host=a | X=v w", ""},
      {"obs-text in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\r\n\r\n",
       "GET / 1.1 | Host=a | X=\xc3\xa4", ""},
      {"empty value", "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", "GET / 1.1 | Host=a | X=", ""},
      {"query and escapes", "GET /a%20b?c=d&e HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET /a%20b?c=d&e 1.1 | Host=a", ""},
      {"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * 1.1 | Host=a", ""},
      {"own method", "X-Y! / HTTP/1.1\r\nHost: a\r\n\r\n", "X-Y! / 1.1 | Host=a", ""},
      {"absolute form wins over Host", "GET http://b:1/p?q HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET /p?q 1.1 | Host=b:1", ""},
      {"absolute form without path", "GET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET / 1.1 | Host=b", ""},
      {"absolute form with query only", "GET http://b?x=/ HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET /?x=/ 1.1 | Host=b", ""},
      {"content length", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET",
       "PUT / 1.1 | Host=a | Content-Length=5", "hello", true, "GET"},
      {"content length 0", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET",
       "PUT / 1.1 | Host=a | Content-Length=0", "", true, "GET"},
      {"leading zeros", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0002\r\n\r\nok",
       "PUT / 1.1 | Host=a | Content-Length=0002", "ok"},
      {"chunked",
       "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
       "5\r\nhello\r\n0A\r\n, world!!!\r\n0\r\n\r\nGET",
       "PUT / 1.1 | Host=a | Transfer-Encoding=Chunked", "hello, world!!!", true, "GET"},
      {"empty chunked", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "PUT / 1.1 | Host=a | Transfer-Encoding=chunked", ""},
      {"chunk extensions are dropped",
       "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
       "2;a=b;c=\"d e\"\r\nok\r\n000;x\r\n\r\n",
       "PUT / 1.1 | Host=a | Transfer-Encoding=chunked", "ok"},
      {"trailers are dropped",
       "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
       "2\r\nok\r\n0\r\nHost: evil\r\nContent-Length: 9\r\n\r\nrest",
       "PUT / 1.1 | Host=a | Transfer-Encoding=chunked", "ok", true, "rest"},
      {"body of a GET", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
       "GET / 1.1 | Host=a | Content-Length=2", "ok"},
      {"no body without framing", "POST / HTTP/1.1\r\nHost: a\r\n\r\nGET", "POST / 1.1 | Host=a",
       "", true, "GET"},
  };
  return table;
}

TEST(HttpParserRequests, AreAcceptedWholeAndInPieces) {
  for (const Accepted& row : accepted()) {
    for (const size_t step : {size_t{1'000}, size_t{1}, size_t{2}, size_t{3}, size_t{7}}) {
      SCOPED_TRACE(cat(row.name, " in steps of ", step));
      const Parsed got = parse(request_parser(), row.text, step);
      ASSERT_EQ(got.state, State::done) << got.error;
      EXPECT_EQ(line_of(got.head), row.head);
      EXPECT_EQ(got.body, row.body);
      EXPECT_EQ(got.head.keep_alive, row.keep_alive);
      EXPECT_EQ(got.rest, row.rest);
    }
  }
}

struct Rejected {
  std::string text;
  int status;
  std::string error;  // a part
};

std::string get(std::string_view fields) {
  return cat("GET / HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
}
std::string chunked(std::string_view body) {
  return cat(get("Transfer-Encoding: chunked\r\n"), body);
}

const std::vector<Rejected> rejected = {
    // Start line
    {"GET /\r\n\r\n", 400, "no request line"},
    {"GET / HTTP/1.1 \r\n\r\n", 400, "no request line"},
    {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "line 1"},
    {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "line 1"},
    {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "line 1"},
    {"G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "line 1"},
    {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "HTTP/1.2 is not served"},
    {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "HTTP/2.0 is not served"},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0 is not served"},
    {"GET / http/1.1\r\nHost: a\r\n\r\n", 400, "no request line"},
    {"GET / HTTP/11\r\nHost: a\r\n\r\n", 400, "no request line"},
    {"GET / HTTP/1.1\nHost: a\n\n", 400, "line 1 of the head ends with LF"},
    {"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, "line 2 of the head ends with LF"},
    {"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "line 1 of the head ends with LF"},
    {"\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", 400, "too many empty lines"},
    {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 12), 400, "line 1"},
    // Target
    {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "neither a path nor an http URL"},
    {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "neither a path nor an http URL"},
    {"GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "neither a path nor an http URL"},
    {"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "neither a path nor an http URL"},
    {"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "neither a path nor an http URL"},
    {"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "fragment"},
    {"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "CONNECT"},
    // Fields
    {get("X : y\r\n"), 400, "line 3"},
    {get("X\r\n"), 400, "line 3"},
    {get(": y\r\n"), 400, "line 3"},
    {get("X(: y\r\n"), 400, "line 3"},
    {get("X: y\r\n z\r\n"), 400, "obs-fold"},
    {get("X: y\r\n\tz\r\n"), 400, "obs-fold"},
    {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "obs-fold"},
    {get("X: a\rb\r\n"), 400, "bare CR or a NUL"},
    {get(std::string_view("X: a\0b\r\n", 8)), 400, "bare CR or a NUL"},
    {get("X: a\x01"
         "b\r\n"),
     400, "line 3"},
    {get("X: a\x7f\r\n"), 400, "line 3"},
    // Host
    {"GET / HTTP/1.1\r\n\r\n", 400, "no Host field"},
    {"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, "2 Host fields"},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "Host field is no host"},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "Host field is no host"},
    {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "Host field is no host"},
    {"GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n", 400, "Host field is no host"},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "Host field is no host"},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "Host field is no host"},
    {"GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", 400, "Host field is no host"},
    // Framing
    {get("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400, ""},
    {get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, ""},
    {get("Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n"), 400, "both Transfer-Encoding"},
    {get("Transfer-Encoding: xchunked\r\n"), 501, "not exactly"},
    {get("Transfer-Encoding: gzip, chunked\r\n"), 501, "not exactly"},
    {get("Transfer-Encoding: chunked, gzip\r\n"), 501, "not exactly"},
    {get("Transfer-Encoding: chunked,\r\n"), 501, "not exactly"},
    {get("Transfer-Encoding: \"chunked\"\r\n"), 501, "not exactly"},
    {get("Transfer-Encoding: identity\r\n"), 501, "not exactly"},
    {get("Transfer-Encoding:\r\n"), 501, "not exactly"},
    {get("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), 400, "2 Transfer-Encoding"},
    {get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, ""},
    {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.0"},
    {get("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "2 Content-Length"},
    {get("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, ""},
    {get("Content-Length: 5, 5\r\n"), 400, "no decimal number"},
    {get("Content-Length: -1\r\n"), 400, ""},
    {get("Content-Length: +1\r\n"), 400, ""},
    {get("Content-Length: 0x10\r\n"), 400, ""},
    {get("Content-Length: 1 0\r\n"), 400, ""},
    {get("Content-Length:\r\n"), 400, ""},
    {get("Content-Length: 9223372036854775808\r\n"), 400, ""},
    {get("Content-Length: 99999999999999999999\r\n"), 400, ""},
    {get("Content-Length: 101\r\n"), 413, "101 bytes, at most 100"},
    {get("Expect: tea\r\n"), 417, "Expect"},
    // Chunks
    {chunked("\r\n"), 400, "chunked coding"},
    {chunked("x\r\n"), 400, "chunked coding"},
    {chunked("5 \r\nhello\r\n0\r\n\r\n"), 400, "chunked coding"},
    {chunked(" 5\r\nhello\r\n0\r\n\r\n"), 400, "chunked coding"},
    {chunked("-5\r\nhello\r\n0\r\n\r\n"), 400, "chunked coding"},
    {chunked("0x5\r\nhello\r\n0\r\n\r\n"), 400, "chunked coding"},
    {chunked("5\nhello\r\n0\r\n\r\n"), 400, "chunked coding"},
    {chunked("5\r\nhello0\r\n\r\n"), 400, "chunked coding"},
    {chunked("5\r\nhello\n0\r\n\r\n"), 400, "chunked coding"},
    {chunked("5\r\nhello\r0\r\n\r\n"), 400, "chunked coding"},
    {chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"), 400, "chunked coding"},
    {chunked("5\r\nhello\r\n0\r\nX: y\n\r\n"), 400, "chunked coding"},
    {chunked("5\r\nhello\r\n0\r\n\rX"), 400, "chunked coding"},
    {chunked("1000000000000000\r\n"), 400, "chunked coding"},
    {chunked("FFFFFFFFFFFFFFFFF\r\n"), 400, "chunked coding"},
    {chunked("0000000000000000000\r\n\r\n"), 400, "chunked coding"},
    {chunked("5;" + std::string(9'000, 'e') + "\r\n"), 400, "chunked coding"},
    {chunked("0\r\nT: " + std::string(9'000, 't') + "\r\n"), 400, "chunked coding"},
    {chunked("65\r\n" + std::string(0x65, 'b') + "\r\n"), 413, "larger than 100"},
    // Limits
    {"GET /" + std::string(3'000, 'u') + " HTTP/1.1\r\n", 414, "request line is larger than 2000"},
    {std::string(3'000, 'G'), 414, "request line is larger than 2000"},
    {get("X: " + std::string(3'000, 'v') + "\r\n"), 431, "head is larger than 2000"},
    {get("a: b\r\nc: d\r\ne: f\r\ng: h\r\n"), 431, "more than 4 fields"},
};

TEST(HttpParserRequests, AreRefusedWholeAndInPieces) {
  for (const Rejected& row : rejected) {
    for (const size_t step : {size_t{10'000}, size_t{1}, size_t{5}}) {
      SCOPED_TRACE(cat(row.text.substr(0, 120), " in steps of ", step));
      const Parsed got = parse(
          request_parser({.head_bytes = 2'000, .headers = 4, .body_bytes = 100}), row.text, step);
      ASSERT_EQ(got.state, State::failed);
      EXPECT_EQ(got.status, row.status) << got.error;
      EXPECT_NE(got.error.find(row.error), std::string::npos) << got.error;
    }
  }
}

TEST(HttpParserRequests, UnfinishedOnesWaitAndFailAtTheEnd) {
  for (const std::string& text :
       {std::string("GET"), std::string("GET / HTTP/1.1\r\n"), std::string("\r"), get("X: y"),
        get("Content-Length: 5\r\n") + "hell", chunked("5\r\nhel"), chunked("0\r\n\r"),
        chunked("5\r\nhello\r\n0\r\nX: y\r\n")}) {
    SCOPED_TRACE(text);
    EXPECT_NE(parse(request_parser(), text, 3).state, State::failed);
    EXPECT_NE(parse(request_parser(), text, 3).state, State::done);
    const Parsed got = parse(request_parser(), text, 3, true);
    EXPECT_EQ(got.state, State::failed);
    EXPECT_NE(got.error.find("the connection ended inside the"), std::string::npos) << got.error;
  }
}

struct Response {
  std::string name, text;
  int status;
  std::string body;
  bool keep_alive;
  bool head = false;  // it answers HEAD
  std::string rest = {};
};

TEST(HttpParserResponses, AreAccepted) {
  const Response table[] = {
      {"length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX", 200, "ok", true, false, "X"},
      {"no reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, "", true},
      {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nX", 200,
       "ok", true, false, "X"},
      {"until close", "HTTP/1.1 200 OK\r\n\r\nall of it", 200, "all of it", false},
      {"empty until close", "HTTP/1.0 200 OK\r\n\r\n", 200, "", false},
      {"1.0 with length", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false},
      {"204", "HTTP/1.1 204 No Content\r\n\r\nX", 204, "", true, false, "X"},
      {"304 with length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nX", 304, "", true,
       false, "X"},
      {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nX", 200, "", true, true, "X"},
      {"HEAD without length", "HTTP/1.1 200 OK\r\n\r\nX", 200, "", true, true, "X"},
      {"HEAD chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nX", 200, "", true,
       true, "X"},
      {"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP", 100, "", true, false, "HTTP"},
      {"close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 200, "",
       false},
  };
  for (const Response& row : table) {
    for (const size_t step : {size_t{1'000}, size_t{1}, size_t{4}}) {
      SCOPED_TRACE(cat(row.name, " in steps of ", step));
      HttpParser parser(HttpParser::Kind::response, {});
      if (row.head) parser.set_head_response();
      const Parsed got = parse(std::move(parser), row.text, step, true);
      ASSERT_EQ(got.state, State::done) << got.error;
      EXPECT_EQ(got.head.status, row.status);
      EXPECT_EQ(got.body, row.body);
      EXPECT_EQ(got.head.keep_alive, row.keep_alive);
      EXPECT_EQ(got.rest, row.rest);
    }
  }
}

TEST(HttpParserResponses, AreRefused) {
  const std::pair<std::string, std::string> table[] = {
      {"ICY 200 OK\r\n\r\n", "no status line"},
      {"HTTP/1.1\r\n\r\n", "line 1"},
      {"HTTP/2 200\r\n\r\n", "no status line"},
      {"HTTP/1.1 20 OK\r\n\r\n", "line 1"},
      {"HTTP/1.1 2000 OK\r\n\r\n", "line 1"},
      {"HTTP/1.1 abc OK\r\n\r\n", "line 1"},
      {"\r\nHTTP/1.1 200 OK\r\n\r\n", "no status line"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "2 Content-Length"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "not exactly"},
      {"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "obs-fold"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "after 4 bytes of 5"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "inside the body"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello", "chunked coding"},
      {"HTTP/1.1 200 OK\r\n", "inside the head"},
      {"garbage", "inside the head"},
      {"garbage\r\n", "no status line"},
  };
  for (const auto& [text, error] : table) {
    SCOPED_TRACE(text);
    const Parsed got = parse(HttpParser(HttpParser::Kind::response, {}), text, 1'000, true);
    ASSERT_EQ(got.state, State::failed);
    EXPECT_NE(got.error.find(error), std::string::npos) << got.error;
  }
}

TEST(HttpParser, StopsAfterTheHeadAndAfterTheMessage) {
  HttpParser parser = request_parser();
  std::string body;
  const std::string head = get("Expect: 100-continue\r\nContent-Length: 2\r\n");
  EXPECT_FALSE(parser.started());
  EXPECT_EQ(parser.feed("G", body), 0u);
  EXPECT_TRUE(parser.started());
  EXPECT_EQ(parser.feed(head + "ok", body), head.size());
  EXPECT_EQ(parser.state(), State::body);
  EXPECT_TRUE(parser.head().expect_continue);
  EXPECT_EQ(parser.head().content_length, 2u);
  EXPECT_EQ(parser.feed("okGET", body), 2u);
  EXPECT_EQ(parser.state(), State::done);
  EXPECT_EQ(parser.feed("GET", body), 0u);
  parser.reset();
  EXPECT_FALSE(parser.started());
  EXPECT_EQ(parser.feed(get(""), body), get("").size());
  EXPECT_EQ(parser.state(), State::done);
  EXPECT_FALSE(parser.head().expect_continue);
}

}  // namespace
}  // namespace fairlead::net
