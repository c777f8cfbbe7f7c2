#include "net/http_parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <cctype>

#include "base/check.h"
#include "base/ip.h"
#include "base/text.h"

namespace fairlead::net {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using BeastView = boost::beast::string_view;

// Beast reads the tokens of a complete head whose lines are checked; it never sees a body, because
// its framing (Boost 1.81) accepts what other readers frame differently.
template <bool is_request>
class HeadReader final : public http::basic_parser<is_request> {
 public:
  explicit HeadReader(HttpParser::Head& head) : head_(head) {}

  error_code read(std::string_view bytes) {
    this->eager(false);
    this->header_limit(static_cast<uint32_t>(bytes.size() + 1));
    this->body_limit(boost::none);
    error_code error;
    this->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
    if (!error && !this->is_header_done()) error = http::error::partial_message;
    return error;
  }

 private:
  void on_request_impl(http::verb, BeastView method, BeastView target, int version,
                       error_code&) override {
    head_.method = std::string(method);
    head_.target = std::string(target);
    head_.minor_version = version % 10;
  }
  void on_response_impl(int status, BeastView, int version, error_code&) override {
    head_.status = status;
    head_.minor_version = version % 10;
  }
  void on_field_impl(http::field, BeastView name, BeastView value, error_code&) override {
    head_.headers.add(std::string(name), std::string(value));
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
  size_t on_body_impl(BeastView body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(uint64_t, BeastView, error_code&) override {}
  size_t on_chunk_body_impl(uint64_t, BeastView body, error_code&) override { return body.size(); }
  void on_finish_impl(error_code&) override {}

  HttpParser::Head& head_;
};

bool is_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// uri-host [ ":" port ] (RFC 3986 3.2.2), or empty (RFC 9110 7.2).
bool is_host(std::string_view text) {
  size_t end;
  if (text.starts_with('[')) {
    end = text.find(']');
    if (end == std::string_view::npos || !Ip::parse(text.substr(1, end - 1))) return false;
    ++end;
  } else {
    end = std::min(text.find(':'), text.size());
    const bool clean = std::ranges::all_of(text.substr(0, end), [](unsigned char c) {
      return std::isalnum(c) != 0 ||
             std::string_view("-._~%!$&'()*+;=").find(static_cast<char>(c)) !=
                 std::string_view::npos;
    });
    if (!clean) return false;
  }
  const std::string_view port = text.substr(end);
  return port.empty() || port == ":" ||
         (port[0] == ':' && is_digits(port.substr(1)) && parse_int(port.substr(1), 0, 65535));
}

size_t count(const Headers& headers, std::string_view name) {
  return static_cast<size_t>(std::ranges::count_if(
      headers, [&](const auto& line) { return equals_ignore_case(line.first, name); }));
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }

}  // namespace

// Data is copied in runs; everything between goes byte by byte, so that no line has to be whole.
size_t ChunkDecoder::feed(std::string_view bytes, std::string& body) {
  size_t at = 0;
  while (at < bytes.size() && !done() && !failed()) {
    if (state_ == State::data) {
      const size_t take = std::min<uint64_t>(left_, bytes.size() - at);
      body.append(bytes, at, take);
      at += take;
      left_ -= take;
      if (left_ == 0) state_ = State::data_cr;
    } else {
      state_ = step(bytes[at++]);
    }
  }
  return at;
}

ChunkDecoder::State ChunkDecoder::step_size(char c) {
  constexpr uint32_t max_digits = 15;  // sizes stay below 2^60
  if (const int digit = hex_digit(c); digit >= 0) {
    if (++digits_ > max_digits) return State::failed;
    left_ = left_ * 16 + static_cast<uint64_t>(digit);
    return State::size;
  }
  if (digits_ == 0) return State::failed;
  return c == ';' ? State::extension : c == '\r' ? State::size_lf : State::failed;
}

ChunkDecoder::State ChunkDecoder::step(char c) {
  switch (state_) {
    case State::size:
      return step_size(c);
    case State::extension:
      if (c == '\r') return State::size_lf;
      return is_control(c) || ++extension_bytes_ > max_extension_bytes ? State::failed
                                                                       : State::extension;
    case State::size_lf:
      digits_ = 0;
      if (c != '\n') return State::failed;
      return left_ > 0 ? State::data : State::trailer_start;
    case State::data_cr:
      return c == '\r' ? State::data_lf : State::failed;
    case State::data_lf:
      return c == '\n' ? State::size : State::failed;
    case State::trailer_start:
      if (c == '\r') return State::end_lf;
      [[fallthrough]];
    case State::trailer:
      if (c == '\r') return State::trailer_lf;
      return is_control(c) || ++trailer_bytes_ > max_trailer_bytes ? State::failed : State::trailer;
    case State::trailer_lf:
      return c == '\n' ? State::trailer_start : State::failed;
    case State::end_lf:
      return c == '\n' ? State::done : State::failed;
    case State::data:
    case State::done:
    case State::failed:
      break;
  }
  return state_;
}

bool HttpParser::refuse(int status, std::string message) {
  state_ = State::failed;
  error_status_ = status;
  error_ = std::move(message);
  return false;
}

void HttpParser::reset() {
  CHECK(state_ == State::done);
  *this = HttpParser(kind_, limits_);
}

size_t HttpParser::feed(std::string_view bytes, std::string& body) {
  if (state_ == State::head) return feed_head(bytes);
  if (state_ == State::body) return feed_body(bytes, body);
  return 0;
}

void HttpParser::feed_eof() {
  if (state_ == State::body && head_.until_close) {
    state_ = State::done;
  } else if (state_ == State::head) {
    refuse(400, "the connection ended inside the head");
  } else if (state_ == State::body) {
    refuse(400, cat("the connection ended inside the body, after ", body_bytes_, " bytes",
                    head_.content_length ? cat(" of ", *head_.content_length) : ""));
  }
}

// The head is parsed once it is whole; until then its bytes stay with the caller.
size_t HttpParser::feed_head(std::string_view bytes) {
  if (kind_ == Kind::request && scanned_ == 0 && bytes.starts_with("\r\n")) {
    constexpr size_t max_empty_lines = 4;
    if (++skipped_lines_ > max_empty_lines) refuse(400, "too many empty lines before the request");
    return 2;
  }
  if (kind_ == Kind::request && scanned_ == 0 && bytes == "\r") return 0;
  if (!scan_lines(bytes)) return 0;
  const std::string_view text = bytes.substr(0, scanned_);
  const error_code error = kind_ == Kind::request ? HeadReader<true>(head_).read(text)
                                                  : HeadReader<false>(head_).read(text);
  if (error) {
    const size_t line = head_.method.empty() && head_.status == 0 ? 1 : head_.headers.size() + 2;
    refuse(400, cat("line ", line, " of the head: ", error.message()));
    return 0;
  }
  return finish_head() ? text.size() : 0;
}

// Looks at each line as it becomes complete. True when the empty line that ends the head is there.
bool HttpParser::scan_lines(std::string_view bytes) {
  for (;;) {
    const size_t end = bytes.find('\n', scanned_);
    scanned_ = end == std::string_view::npos ? bytes.size() : end + 1;
    if (scanned_ > limits_.head_bytes) {
      const bool uri = lines_ == 0 && kind_ == Kind::request;
      return refuse(uri ? 414 : 431, cat("the ", uri ? "request line" : "head", " is larger than ",
                                         limits_.head_bytes, " bytes"));
    }
    if (end == std::string_view::npos) return false;
    if (end == line_start_ || bytes[end - 1] != '\r') {
      return refuse(400, cat("line ", lines_ + 1, " of the head ends with LF, expected CRLF"));
    }
    const std::string_view line = bytes.substr(line_start_, end - 1 - line_start_);
    line_start_ = end + 1;
    ++lines_;
    if (!check_line(line)) return false;
    if (line.empty()) return true;
  }
}

bool HttpParser::check_line(std::string_view line) {
  if (line.find('\r') != std::string_view::npos || line.find('\0') != std::string_view::npos) {
    return refuse(400, cat("line ", lines_, " of the head has a bare CR or a NUL"));
  }
  if (lines_ == 1) return check_start_line(line);
  if (line.starts_with(' ') || line.starts_with('\t')) {
    return refuse(400, cat("line ", lines_, " of the head starts with white space (obs-fold)"));
  }
  if (lines_ > limits_.headers + 2) {
    return refuse(431, cat("the head has more than ", limits_.headers, " fields"));
  }
  return true;
}

// Beast reports every odd version alike; a client of another version is owed a 505.
bool HttpParser::check_start_line(std::string_view line) {
  const std::string_view version =
      kind_ == Kind::request ? line.substr(line.rfind(' ') + 1) : line.substr(0, line.find(' '));
  const bool well_formed = version.size() == 8 && version.starts_with("HTTP/") &&
                           is_digits(version.substr(5, 1)) && version[6] == '.' &&
                           is_digits(version.substr(7, 1));
  if (!well_formed) {
    return refuse(400, kind_ == Kind::request
                           ? "the first line is no request line, expected METHOD TARGET HTTP/1.1"
                           : "the first line is no status line, expected HTTP/1.1 STATUS REASON");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return refuse(505, cat("version ", version, " is not served, expected HTTP/1.1 or HTTP/1.0"));
  }
  return true;
}

// RFC 9112 3.2: origin-form, absolute-form and asterisk-form. Authority-form is CONNECT's.
bool HttpParser::check_target() {
  std::string_view target = head_.target;
  if (target.find('#') != std::string_view::npos) {
    return refuse(400, "the request target has a fragment");
  }
  if (head_.method == "CONNECT") return refuse(501, "CONNECT is not served");
  if (target.starts_with('/') || (target == "*" && head_.method == "OPTIONS")) return true;
  // Absolute form: its authority is the host, whatever the Host field says (RFC 9112 3.2.2).
  const std::string scheme = to_lower(target.substr(0, 8));
  const size_t start = scheme.starts_with("http://") ? 7 : scheme == "https://" ? 8 : 0;
  const size_t end = std::min(target.find_first_of("/?", start), target.size());
  const std::string host(target.substr(start, end - start));
  if (start == 0 || host.empty() || !is_host(host)) {
    return refuse(400, "the request target is neither a path nor an http URL");
  }
  std::string path(target.substr(end));
  if (!path.starts_with('/')) path.insert(0, "/");
  head_.headers.set("Host", host);
  head_.target = std::move(path);
  return true;
}

bool HttpParser::check_request() {
  const size_t hosts = count(head_.headers, "Host");
  if (hosts > 1) return refuse(400, cat("the request has ", hosts, " Host fields, expected one"));
  if (hosts == 0 && head_.minor_version == 1) return refuse(400, "the request has no Host field");
  if (!is_host(head_.headers.get("Host"))) {
    return refuse(400, "the Host field is no host with an optional port");
  }
  if (const std::string_view expect = head_.headers.get("Expect");
      !expect.empty() && head_.minor_version == 1) {
    if (!equals_ignore_case(expect, "100-continue")) {
      return refuse(417, "the Expect field is not 100-continue");
    }
    head_.expect_continue = true;
  }
  return check_target();
}

// RFC 9112 6.1 to 6.3, without its leniencies: exactly one way to tell where the body ends.
bool HttpParser::check_framing() {
  const size_t encodings = count(head_.headers, "Transfer-Encoding");
  const size_t lengths = count(head_.headers, "Content-Length");
  if (lengths > 1) return refuse(400, cat("there are ", lengths, " Content-Length fields"));
  if (encodings > 1) return refuse(400, cat("there are ", encodings, " Transfer-Encoding fields"));
  if (encodings == 1) {
    if (lengths > 0) return refuse(400, "both Transfer-Encoding and Content-Length are there");
    if (head_.minor_version == 0) return refuse(400, "Transfer-Encoding in an HTTP/1.0 message");
    if (!equals_ignore_case(head_.headers.get("Transfer-Encoding"), "chunked")) {
      return refuse(501, "Transfer-Encoding is not exactly \"chunked\"");
    }
    head_.chunked = true;
  }
  if (lengths == 1) {
    const std::string_view text = head_.headers.get("Content-Length");
    const auto value = is_digits(text) ? parse_int(text, 0) : std::nullopt;
    if (!value) return refuse(400, "Content-Length is no decimal number");
    head_.content_length = static_cast<uint64_t>(*value);
  }
  return true;
}

bool HttpParser::finish_head() {
  if (!check_framing()) return false;
  if (kind_ == Kind::request && !check_request()) return false;
  const bool bodyless = kind_ == Kind::response && (head_response_ || head_.status / 100 == 1 ||
                                                    head_.status == 204 || head_.status == 304);
  head_.until_close =
      kind_ == Kind::response && !bodyless && !head_.chunked && !head_.content_length;
  head_.keep_alive =
      !head_.until_close && !has_token(head_.headers, "Connection", "close") &&
      (head_.minor_version == 1 || has_token(head_.headers, "Connection", "keep-alive"));
  if (bodyless || (!head_.chunked && !head_.until_close && head_.content_length.value_or(0) == 0)) {
    state_ = State::done;
    return true;
  }
  if (head_.content_length.value_or(0) > limits_.body_bytes) {
    return refuse(413, cat("the body has ", *head_.content_length, " bytes, at most ",
                           limits_.body_bytes, " are taken"));
  }
  state_ = State::body;
  return true;
}

size_t HttpParser::feed_body(std::string_view bytes, std::string& body) {
  const size_t before = body.size();
  size_t used = bytes.size();
  if (head_.chunked) {
    used = chunks_.feed(bytes, body);
    if (chunks_.failed()) refuse(400, "the chunked coding of the body is malformed");
    if (chunks_.done()) state_ = State::done;
  } else {
    if (head_.content_length) used = std::min<uint64_t>(used, *head_.content_length - body_bytes_);
    body.append(bytes, 0, used);
  }
  body_bytes_ += body.size() - before;
  if (head_.content_length && body_bytes_ == *head_.content_length) state_ = State::done;
  if (body_bytes_ > limits_.body_bytes) {
    refuse(413, cat("the body is larger than ", limits_.body_bytes, " bytes"));
  }
  return used;
}

}  // namespace fairlead::net
