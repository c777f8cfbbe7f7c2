// The HTTP parser: whatever comes, in whatever pieces, it ends in the same state with the same
// body, and never uses more bytes than it was given. The first byte picks request or response and
// the size of the pieces.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/http_parser.h"

namespace {

using fairlead::net::HttpParser;

struct Result {
  HttpParser::State state;
  int status;
  std::string method, target, body;
  size_t fields, used;
  bool operator==(const Result&) const = default;
};

Result run(bool request, bool head_response, std::string_view input, size_t step) {
  HttpParser parser(request ? HttpParser::Kind::request : HttpParser::Kind::response,
                    {.head_bytes = 4096, .headers = 32, .body_bytes = 8192});
  if (head_response) parser.set_head_response();
  std::string buffer, body;
  size_t used_total = 0;
  while (!input.empty() && parser.state() != HttpParser::State::done &&
         parser.state() != HttpParser::State::failed) {
    buffer += input.substr(0, step);
    input.remove_prefix(std::min(step, input.size()));
    for (;;) {
      const HttpParser::State before = parser.state();
      const size_t used = parser.feed(buffer, body);
      if (used > buffer.size()) std::abort();
      used_total += used;
      buffer.erase(0, used);
      if (buffer.empty() || (used == 0 && parser.state() == before)) break;
    }
  }
  if (parser.state() != HttpParser::State::done && parser.state() != HttpParser::State::failed) {
    parser.feed_eof();
  }
  const bool failed = parser.state() == HttpParser::State::failed;
  if (failed != (parser.error_status() != 0)) std::abort();
  // What a refused message has left behind depends on where it was cut.
  if (failed) return {parser.state(), parser.error_status(), "", "", "", 0, 0};
  return {parser.state(),
          0,
          parser.head().method,
          parser.head().target,
          body,
          parser.head().headers.size(),
          used_total};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const bool request = (data[0] & 1) != 0;
  const bool head_response = !request && (data[0] & 2) != 0;
  const size_t step = 1 + (data[0] >> 2) % 16;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Result whole = run(request, head_response, input, input.size() + 1);
  const Result pieces = run(request, head_response, input, step);
  if (whole != pieces) std::abort();
  return 0;
}
