#include "ingress/framing_guard.h"

#include <algorithm>
#include <array>

#include "base/ip.h"
#include "base/text.h"

namespace fairlead::ingress {
namespace {

constexpr size_t max_authority_bytes = 255;

constexpr auto token_chars = [] {
  std::array<bool, 256> table{};
  for (const char c : std::string_view("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
    table[static_cast<unsigned char>(c)] = true;
  }
  return table;
}();

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return token_chars[static_cast<unsigned char>(c)];
  });
}

// Calls visit(element) for each element of a comma-separated list, trimmed, empty ones left out.
template <class Visit>
void each_element(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const std::string_view element = trim(list.substr(0, comma));
    if (!element.empty()) visit(element);
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

// RFC 9110 section 4.2: a registered name of the characters that names are made of in practice, or
// an address, and a port. An empty one is allowed: the client has no name for the server.
bool is_authority(std::string_view text) {
  if (text.size() > max_authority_bytes) return false;
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos || !Ip::parse(text.substr(1, end - 1))) return false;
    port = text.substr(end + 1);
  } else {
    const size_t end = std::min(text.find(':'), text.size());
    for (const char c : text.substr(0, end)) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_') return false;
    }
    port = text.substr(end);
    if (end == 0 && !port.empty()) return false;
  }
  if (port.empty()) return true;
  return port.front() == ':' && (port.size() == 1 || parse_int(port.substr(1), 0, 65535)) &&
         port.find('-') == std::string_view::npos;
}

// One Content-Length of digits, or one Transfer-Encoding that says `chunked`, or neither.
Refusal check_body(const std::vector<Field>& fields, int version, int status, BodyFraming& body) {
  const Field* length = nullptr;
  const Field* coding = nullptr;
  for (const Field& field : fields) {
    if (field.id == FieldId::content_length) {
      if (length != nullptr) return {status, "more than one Content-Length"};
      length = &field;
    } else if (field.id == FieldId::transfer_encoding) {
      if (coding != nullptr) return {status, "more than one Transfer-Encoding"};
      coding = &field;
    }
  }
  if (coding != nullptr) {
    if (length != nullptr) return {status, "Transfer-Encoding with Content-Length"};
    if (version < 11) return {status, "Transfer-Encoding in HTTP/1.0"};
    if (!equals_ignore_case(coding->value, "chunked")) {
      bool known = false, tokens = true;
      each_element(coding->value, [&](std::string_view element) {
        known = known || equals_ignore_case(element, "chunked");
        tokens = tokens && is_token(element);
      });
      // Another coding alone, or before a final `chunked`, is honest but not spoken here.
      const bool last =
          known && coding->value.size() >= 7 &&
          equals_ignore_case(coding->value.substr(coding->value.size() - 7), "chunked");
      const bool honest = tokens && !coding->value.empty() && (!known || last);
      return {honest && status == 400 ? 501 : status, "Transfer-Encoding"};
    }
    body.kind = BodyFraming::Kind::chunked;
  }
  if (length != nullptr) {
    const std::string_view digits = length->value;
    if (digits.empty() || digits.size() > 18 ||
        digits.find_first_not_of("0123456789") != std::string_view::npos) {
      return {status, "Content-Length"};
    }
    body.length = static_cast<uint64_t>(*parse_int(digits));
    body.kind = body.length == 0 ? BodyFraming::Kind::none : BodyFraming::Kind::length;
  }
  return {};
}

struct ConnectionOptions {
  bool close = false, keep_alive = false, upgrade = false;
};

ConnectionOptions connection_options(const std::vector<Field>& fields) {
  ConnectionOptions options;
  for (const Field& field : fields) {
    if (field.id != FieldId::connection) continue;
    each_element(field.value, [&](std::string_view element) {
      options.close |= equals_ignore_case(element, "close");
      options.keep_alive |= equals_ignore_case(element, "keep-alive");
      options.upgrade |= equals_ignore_case(element, "upgrade");
    });
  }
  return options;
}

// The four forms of RFC 9112 section 3.2; `authority` is set by the absolute form only.
Refusal check_target(const RequestHead& head, RequestFacts& facts, bool& absolute) {
  std::string_view target = head.target;
  if (head.method == "CONNECT") return {405, "CONNECT"};
  if (head.method == "TRACE") return {405, "TRACE"};
  if (target.find('#') != std::string_view::npos) return {400, "fragment in the request target"};
  if (target.starts_with('/')) {
    facts.target = target;
    return {};
  }
  if (target == "*") {
    facts.target = target;
    return head.method == "OPTIONS" ? Refusal{} : Refusal{400, "request target *"};
  }
  const size_t scheme = target.find("://");
  if (scheme == std::string_view::npos) return {400, "request target"};
  const std::string_view name = target.substr(0, scheme);
  if (!equals_ignore_case(name, "http") && !equals_ignore_case(name, "https")) {
    return {400, "scheme of the request target"};
  }
  target.remove_prefix(scheme + 3);
  const size_t end = std::min(target.find_first_of("/?"), target.size());
  facts.authority = target.substr(0, end);
  if (facts.authority.empty() || !is_authority(facts.authority)) {
    return {400, "authority of the request target"};
  }
  absolute = true;
  facts.target = target.substr(end);
  if (facts.target.empty()) facts.target = head.method == "OPTIONS" ? "*" : "/";
  if (facts.target.starts_with('?')) return {400, "request target without a path"};
  return {};
}

Refusal check_host(const RequestHead& head, RequestFacts& facts, bool absolute) {
  const Field* host = nullptr;
  for (const Field& field : head.fields) {
    if (field.id != FieldId::host) continue;
    if (host != nullptr) return {400, "more than one Host"};
    host = &field;
  }
  if (host == nullptr) return head.version >= 11 ? Refusal{400, "no Host"} : Refusal{};
  if (!is_authority(host->value)) return {400, "Host"};
  if (!absolute) facts.authority = host->value;
  return {};
}

Refusal check_upgrade(const RequestHead& head, bool wanted, RequestFacts& facts) {
  if (!wanted || head.version < 11 || facts.body.kind != BodyFraming::Kind::none) return {};
  std::string_view protocol, version;
  size_t upgrades = 0;
  for (const Field& field : head.fields) {
    if (field.id == FieldId::upgrade) {
      protocol = field.value;
      ++upgrades;
    }
    if (field.id == FieldId::sec_websocket_version) version = field.value;
  }
  // h2c would carry requests past every check made here.
  if (upgrades != 1 || to_lower(protocol).find("h2c") != std::string::npos) return {};
  if (equals_ignore_case(protocol, "websocket") && version != "13") {
    return {426, "Sec-WebSocket-Version"};
  }
  facts.upgrade = protocol;
  return {};
}

bool is_idempotent(std::string_view method) {
  constexpr std::string_view methods[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"};
  return std::find(std::begin(methods), std::end(methods), method) != std::end(methods);
}

// Nobody may have these taken away on the way by naming them in Connection.
bool is_protected(const Field& field) {
  switch (field.id) {
    case FieldId::host:
    case FieldId::content_length:
    case FieldId::cookie:
    case FieldId::date:
    case FieldId::expect:
    case FieldId::forwarded:
    case FieldId::server:
      return true;
    default:
      break;
  }
  if (field.id >= FieldId::x_forwarded_for) return true;
  constexpr std::string_view names[] = {"authorization", "set-cookie",      "location",
                                        "origin",        "range",           "vary",
                                        "via",           "www-authenticate"};
  const std::string name = to_lower(field.name);
  return name.starts_with("content-") || name.starts_with("x-forwarded-") ||
         name.starts_with("cache-") ||
         std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace

Refusal check_request(const RequestHead& head, RequestFacts& facts) {
  facts = {};
  bool absolute = false;
  if (const auto refusal = check_target(head, facts, absolute)) return refusal;
  if (const auto refusal = check_host(head, facts, absolute)) return refusal;
  if (const auto refusal = check_body(head.fields, head.version, 400, facts.body)) return refusal;
  for (const Field& field : head.fields) {
    if (field.id != FieldId::expect) continue;
    if (!equals_ignore_case(field.value, "100-continue")) return {417, "Expect"};
    facts.expect_continue = head.version >= 11 && facts.body.kind != BodyFraming::Kind::none;
  }
  const ConnectionOptions options = connection_options(head.fields);
  facts.keep_alive = !options.close && (head.version >= 11 || options.keep_alive);
  facts.is_head = head.method == "HEAD";
  facts.idempotent = is_idempotent(head.method);
  return check_upgrade(head, options.upgrade, facts);
}

Refusal check_response(const ResponseHead& head, bool answers_head, ResponseFacts& facts) {
  facts = {};
  if (head.status < 100 || head.status > 599) return {502, "status of the response"};
  if (const auto refusal = check_body(head.fields, head.version, 502, facts.body)) return refusal;
  const ConnectionOptions options = connection_options(head.fields);
  facts.keep_alive = !options.close && (head.version >= 11 || options.keep_alive);
  if (head.status == 101) {
    for (const Field& field : head.fields) {
      if (field.id == FieldId::upgrade) facts.upgrade = field.value;
    }
  }
  const bool bodiless =
      answers_head || head.status < 200 || head.status == 204 || head.status == 304;
  if (bodiless) {
    facts.body = {};
  } else if (facts.body.kind == BodyFraming::Kind::none) {
    const bool empty = std::any_of(head.fields.begin(), head.fields.end(), [](const Field& field) {
      return field.id == FieldId::content_length;
    });
    if (!empty) {
      facts.body.kind = BodyFraming::Kind::until_close;
      facts.keep_alive = false;
    }
  }
  return {};
}

HopByHop::HopByHop(const std::vector<Field>& fields) : fields_(fields) {
  for (const Field& field : fields) {
    if (field.id != FieldId::connection) continue;
    each_element(field.value, [&](std::string_view element) {
      nominates_ |= !equals_ignore_case(element, "close") &&
                    !equals_ignore_case(element, "keep-alive") &&
                    !equals_ignore_case(element, "upgrade");
    });
  }
}

bool HopByHop::drops(const Field& field) const {
  switch (field.id) {
    case FieldId::connection:
    case FieldId::http2_settings:
    case FieldId::keep_alive:
    case FieldId::proxy_connection:
    case FieldId::te:
    case FieldId::trailer:
    case FieldId::transfer_encoding:
    case FieldId::upgrade:
      return true;
    default:
      break;
  }
  if (!nominates_ || is_protected(field)) return false;
  bool named = false;
  for (const Field& other : fields_) {
    if (other.id != FieldId::connection) continue;
    each_element(other.value, [&](std::string_view element) {
      named |= equals_ignore_case(element, field.name);
    });
  }
  return named;
}

}  // namespace fairlead::ingress
