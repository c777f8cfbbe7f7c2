// The limits of a message, and one byte beside them.
#include <gtest/gtest.h>

#include "base/text.h"
#include "net/http_parser.h"

namespace fairlead::net {
namespace {

constexpr HttpParser::Limits limits{.head_bytes = 200, .headers = 5, .body_bytes = 50};

// "done", or the status with which it is refused.
std::string fate(std::string_view text, HttpParser::Kind kind = HttpParser::Kind::request) {
  HttpParser parser(kind, limits);
  std::string body;
  for (size_t used = 1; used > 0 && parser.state() != HttpParser::State::done && !text.empty();) {
    used = parser.feed(text, body);
    text.remove_prefix(used);
  }
  if (parser.state() == HttpParser::State::failed) return cat(parser.error_status());
  return parser.state() == HttpParser::State::done ? "done" : "waits";
}

// A request whose head has exactly so many bytes, in its target or in a field.
std::string long_target(size_t bytes) {
  const std::string around = "GET / HTTP/1.0\r\n\r\n";
  return cat("GET /", std::string(bytes - around.size(), 't'), " HTTP/1.0\r\n\r\n");
}
std::string long_field(size_t bytes) {
  const std::string around = "GET / HTTP/1.0\r\nX: \r\n\r\n";
  return cat("GET / HTTP/1.0\r\nX: ", std::string(bytes - around.size(), 'v'), "\r\n\r\n");
}
std::string fields(size_t count) {
  std::string text = "GET / HTTP/1.0\r\n";
  for (size_t i = 0; i < count; ++i) text += "a:b\r\n";
  return text + "\r\n";
}
std::string with_length(size_t bytes) {
  return cat("PUT / HTTP/1.0\r\nContent-Length: ", bytes, "\r\n\r\n", std::string(bytes, 'b'));
}
std::string in_chunks(const std::vector<size_t>& sizes) {
  std::string text = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const size_t size : sizes) text += cat(size, "\r\n", std::string(size, 'c'), "\r\n");
  return text + "0\r\n\r\n";
}
// Extensions of two chunks, trailers of two lines: the limits are of the message.
std::string with_extensions(size_t bytes) {
  const std::string half(bytes / 2, 'e'), rest(bytes - bytes / 2, 'e');
  return cat("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;", half,
             "\r\nx\r\n0;", rest, "\r\n\r\n");
}
std::string with_trailers(size_t bytes) {
  const std::string half(bytes / 2, 't'), rest(bytes - bytes / 2, 't');
  return cat("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", half, "\r\n",
             rest, "\r\n\r\n");
}

TEST(HttpParserLimits, AreMetExactly) {
  const size_t extensions = ChunkDecoder::max_extension_bytes;
  const size_t trailers = ChunkDecoder::max_trailer_bytes;
  struct Row {
    std::string name, text, fate;
  };
  const Row table[] = {
      {"target n", long_target(limits.head_bytes), "done"},
      {"target n+1", long_target(limits.head_bytes + 1), "431"},
      {"first line n+1", long_target(limits.head_bytes + 3), "414"},
      {"field n", long_field(limits.head_bytes), "done"},
      {"field n+1", long_field(limits.head_bytes + 1), "431"},
      {"fields n", fields(limits.headers), "done"},
      {"fields n+1", fields(limits.headers + 1), "431"},
      {"length n", with_length(limits.body_bytes), "done"},
      {"length n+1", with_length(limits.body_bytes + 1), "413"},
      {"chunks n", in_chunks(std::vector<size_t>(10, 5)), "done"},
      {"chunks n+1", in_chunks(std::vector<size_t>(17, 3)), "413"},
      {"extensions n", with_extensions(extensions), "done"},
      {"extensions n+1", with_extensions(extensions + 1), "400"},
      {"trailers n", with_trailers(trailers), "done"},
      {"trailers n+1", with_trailers(trailers + 1), "400"},
      {"chunk size of 15 digits",
       "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n000000000000000\r\n\r\n",
       "done"},
      {"chunk size of 16 digits",
       "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000000\r\n\r\n",
       "400"},
      {"empty lines before it n", "\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", "done"},
      {"empty lines before it n+1", "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", "400"},
      {"port n", "GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n", "done"},
      {"port n+1", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "400"},
      {"length of 2^63-1", "PUT / HTTP/1.0\r\nContent-Length: 9223372036854775807\r\n\r\n", "413"},
      {"length of 2^63", "PUT / HTTP/1.0\r\nContent-Length: 9223372036854775808\r\n\r\n", "400"},
  };
  for (const Row& row : table) EXPECT_EQ(fate(row.text), row.fate) << row.name;
}

// The body of an answer is counted even where nothing announces its length.
TEST(HttpParserLimits, HoldForAnswersThatEndWithTheConnection) {
  const std::string head = "HTTP/1.0 200 OK\r\n\r\n";
  EXPECT_EQ(fate(head + std::string(50, 'b'), HttpParser::Kind::response), "waits");
  EXPECT_EQ(fate(head + std::string(51, 'b'), HttpParser::Kind::response), "413");
}

}  // namespace
}  // namespace fairlead::net
