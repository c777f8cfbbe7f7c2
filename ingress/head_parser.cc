#include "ingress/head_parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cstring>

#include "base/text.h"

namespace fairlead::ingress {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;

struct KnownName {
  std::string_view name;
  FieldId id;
};
// Names that Beast's table does not have.
constexpr KnownName unlisted[] = {
    {"x-forwarded-for", FieldId::x_forwarded_for},
    {"x-forwarded-host", FieldId::x_forwarded_host},
    {"x-forwarded-port", FieldId::x_forwarded_port},
    {"x-forwarded-proto", FieldId::x_forwarded_proto},
    {"x-forwarded-scheme", FieldId::x_forwarded_scheme},
    {"x-original-forwarded-for", FieldId::x_original_forwarded_for},
    {"x-real-ip", FieldId::x_real_ip},
    {"x-request-id", FieldId::x_request_id},
    {"x-scheme", FieldId::x_scheme},
    {"proxy", FieldId::proxy},
};

FieldId id_of(http::field field, std::string_view name) {
  switch (field) {
    case http::field::connection:
      return FieldId::connection;
    case http::field::content_length:
      return FieldId::content_length;
    case http::field::cookie:
      return FieldId::cookie;
    case http::field::date:
      return FieldId::date;
    case http::field::expect:
      return FieldId::expect;
    case http::field::forwarded:
      return FieldId::forwarded;
    case http::field::host:
      return FieldId::host;
    case http::field::http2_settings:
      return FieldId::http2_settings;
    case http::field::keep_alive:
      return FieldId::keep_alive;
    case http::field::proxy_connection:
      return FieldId::proxy_connection;
    case http::field::referer:
      return FieldId::referer;
    case http::field::sec_websocket_version:
      return FieldId::sec_websocket_version;
    case http::field::server:
      return FieldId::server;
    case http::field::te:
      return FieldId::te;
    case http::field::trailer:
      return FieldId::trailer;
    case http::field::transfer_encoding:
      return FieldId::transfer_encoding;
    case http::field::upgrade:
      return FieldId::upgrade;
    case http::field::user_agent:
      return FieldId::user_agent;
    case http::field::unknown:
      break;
    default:
      return FieldId::other;
  }
  if (name.front() != 'x' && name.front() != 'X' && name.size() != 5) return FieldId::other;
  for (const KnownName& known : unlisted) {
    if (equals_ignore_case(name, known.name)) return known.id;
  }
  return FieldId::other;
}

std::string_view to_std(boost::beast::string_view text) { return {text.data(), text.size()}; }

// The body is never given to Beast (see body_framer.h): skip() ends the message with its head.
template <bool is_request, class Head>
class ViewParser final : public http::basic_parser<is_request> {
 public:
  explicit ViewParser(Head& head) : head_(head) {
    this->skip(true);
    this->header_limit(UINT32_MAX);
    head_.fields.clear();
  }

 private:
  void on_request_impl(http::verb, boost::beast::string_view method,
                       boost::beast::string_view target, int version, error_code&) override {
    if constexpr (is_request) {
      head_.method = to_std(method);
      head_.target = to_std(target);
      head_.version = version;
    }
  }
  void on_response_impl(int status, boost::beast::string_view reason, int version,
                        error_code&) override {
    if constexpr (!is_request) {
      head_.status = status;
      head_.reason = to_std(reason);
      head_.version = version;
    }
  }
  void on_field_impl(http::field field, boost::beast::string_view name,
                     boost::beast::string_view value, error_code&) override {
    head_.fields.push_back({id_of(field, to_std(name)), to_std(name), to_std(value)});
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
  size_t on_body_impl(boost::beast::string_view, error_code&) override { return 0; }
  void on_chunk_header_impl(uint64_t, boost::beast::string_view, error_code&) override {}
  size_t on_chunk_body_impl(uint64_t, boost::beast::string_view, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}

  Head& head_;
};

template <bool is_request, class Head>
error_code parse(std::string_view bytes, Head& into) {
  ViewParser<is_request, Head> parser(into);
  error_code error;
  const size_t used = parser.put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
  if (!error && (!parser.is_done() || used != bytes.size())) error = http::error::bad_field;
  return error;
}

}  // namespace

HeadScanner::Result HeadScanner::refuse(int status, std::string_view why) {
  refusal_ = {status, why};
  return Result::refused;
}

HeadScanner::Result HeadScanner::scan(std::string_view bytes, const Limits& limits) {
  constexpr size_t start_line_extra = 64;  // method, version and blanks beside the target
  for (;;) {
    const size_t left = bytes.size() - position_;
    const auto* line = bytes.data() + position_;
    const auto* end = static_cast<const char*>(left == 0 ? nullptr : memchr(line, '\n', left));
    const size_t length = end == nullptr ? left : static_cast<size_t>(end - line) + 1;
    if (lines_ == 0 && length > limits.target_bytes + start_line_extra) {
      return refuse(414, "request target too long");
    }
    if (position_ + length > limits.header_bytes) return refuse(431, "head too large");
    if (end == nullptr) return Result::more;
    if (length < 2 || line[length - 2] != '\r') return refuse(400, "line feed without CR");
    if (*line == ' ' || *line == '\t') return refuse(400, "folded line or blank before a name");
    position_ += length;
    if (length == 2) {
      if (lines_ > 0) return Result::complete;
      if (position_ > 8) return refuse(400, "empty lines");  // RFC 9112 2.2 asks to skip one
      continue;
    }
    if (++lines_ > limits.header_count + 1) return refuse(431, "too many header fields");
  }
}

Refusal parse_request_head(std::string_view head, RequestHead& into) {
  while (head.starts_with("\r\n")) head.remove_prefix(2);
  const error_code error = parse<true>(head, into);
  if (!error) return {};
  if (error == http::error::bad_version) {
    // "HTTP/2.0" is a version; "HTTP/1.1x" or "foo" is no HTTP at all.
    const std::string_view line = head.substr(0, head.find('\r'));
    const std::string_view version = line.substr(line.rfind(' ') + 1);
    const auto digit = [&](size_t i) { return version[i] >= '0' && version[i] <= '9'; };
    const bool two_blanks = std::count(line.begin(), line.end(), ' ') == 2;
    if (two_blanks && version.size() == 8 && version.starts_with("HTTP/") && digit(5) &&
        version[6] == '.' && digit(7)) {
      return {505, "HTTP version"};
    }
    return {400, "request line"};
  }
  if (error == http::error::bad_method || error == http::error::bad_target) {
    return {400, "request line"};
  }
  if (error == http::error::bad_content_length || error == http::error::multiple_content_length) {
    return {400, "Content-Length"};
  }
  if (error == http::error::bad_transfer_encoding) return {400, "Transfer-Encoding"};
  return {400, "header field"};
}

Refusal parse_response_head(std::string_view head, ResponseHead& into) {
  if (parse<false>(head, into)) return {502, "malformed response head"};
  return {};
}

}  // namespace fairlead::ingress
