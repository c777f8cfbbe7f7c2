#include "net/http_writer.h"

#include <algorithm>
#include <cctype>
#include <ctime>

#include "base/text.h"

namespace fairlead::net {
namespace {

// tchar of RFC 9110 5.6.2
bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

// What would let a value start a line of its own (RFC 9110 5.5).
bool ends_line(char c) { return c == '\r' || c == '\n' || c == '\0'; }

// Fields that this side decides by itself.
bool is_framing(std::string_view name) {
  return equals_ignore_case(name, "Content-Length") ||
         equals_ignore_case(name, "Transfer-Encoding") || equals_ignore_case(name, "Connection");
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

Result<void> check_request(const HttpRequest& request) {
  if (!is_token(request.method)) {
    return fail(cat("request method \"", request.method, "\" is no token"));
  }
  const bool clean = std::ranges::all_of(
      request.target, [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; });
  if (!clean || !(request.target.starts_with('/') || request.target == "*")) {
    return fail("request target: expected a path, percent-encoded");
  }
  for (const auto& [name, value] : request.headers) {
    if (!is_token(name)) return fail(cat("request header name \"", name, "\" is no token"));
    if (std::ranges::any_of(value, ends_line)) {
      return fail(cat("request header ", name, ": the value has a line end or NUL"));
    }
  }
  return {};
}

}  // namespace

std::string response_head(const HttpResponse& response, const ResponseFraming& framing,
                          std::string_view date) {
  std::string out;
  out.reserve(256);
  fairlead::append(out, "HTTP/1.1 ");
  fairlead::append(out, response.status);
  out += ' ';
  out += reason_phrase(response.status);
  out += "\r\n";
  bool has_date = false;
  for (const auto& [name, value] : response.headers) {
    if (is_framing(name) || !is_token(name)) continue;
    has_date = has_date || equals_ignore_case(name, "Date");
    const size_t start = out.size();
    append_field(out, name, value);
    std::replace_if(out.begin() + static_cast<std::ptrdiff_t>(start), out.end() - 2, ends_line,
                    ' ');
  }
  if (!has_date) append_field(out, "Date", date);
  if (framing.chunked) {
    append_field(out, "Transfer-Encoding", "chunked");
  } else if (framing.content_length) {
    append_field(out, "Content-Length", cat(*framing.content_length));
  }
  if (!framing.keep_alive) {
    append_field(out, "Connection", "close");
  } else if (framing.minor_version == 0) {
    append_field(out, "Connection", "keep-alive");
  }
  out += "\r\n";
  return out;
}

Result<std::string> request_bytes(const HttpRequest& request, std::string_view host) {
  FL_TRY_VOID(check_request(request));
  std::string out = cat(request.method, " ", request.target, " HTTP/1.1\r\n");
  if (!request.headers.has("Host")) append_field(out, "Host", host);
  for (const auto& [name, value] : request.headers) {
    if (!is_framing(name)) append_field(out, name, value);
  }
  // RFC 9110 8.6: a length of 0 only where the method gives a body a meaning.
  const bool wants_length =
      request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (wants_length || !request.body.empty()) {
    append_field(out, "Content-Length", cat(request.body.size()));
  }
  out += "\r\n";
  out += request.body;
  return out;
}

void append_chunk(std::string& out, std::string_view bytes) {
  char digits[16];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, bytes.size(), 16).ptr);
  out += "\r\n";
  out += bytes;
  out += "\r\n";
}

std::string http_date(WallTime time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[40];
  return std::string(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc));
}

}  // namespace fairlead::net
