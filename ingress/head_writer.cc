#include "ingress/head_writer.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/text.h"
#include "net/http.h"

namespace fairlead::ingress {
namespace {

class Writer {
 public:
  explicit Writer(std::span<char> out) : begin_(out.data()), at_(begin_), end_(at_ + out.size()) {}

  Writer& operator<<(std::string_view text) {
    if (text.empty()) return *this;
    CHECK(text.size() <= static_cast<size_t>(end_ - at_));
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
    return *this;
  }
  Writer& operator<<(uint64_t number) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    return *this << std::string_view(digits, static_cast<size_t>(end - digits));
  }
  void field(std::string_view name, std::string_view value) {
    *this << name << ": " << value << "\r\n";
  }
  size_t size() const { return static_cast<size_t>(at_ - begin_); }

 private:
  char* begin_;
  char* at_;
  char* end_;
};

bool is_forwarding_field(FieldId id) {
  switch (id) {
    case FieldId::x_forwarded_for:
    case FieldId::x_forwarded_host:
    case FieldId::x_forwarded_port:
    case FieldId::x_forwarded_proto:
    case FieldId::x_forwarded_scheme:
    case FieldId::x_original_forwarded_for:
    case FieldId::x_real_ip:
    case FieldId::x_scheme:
    case FieldId::forwarded:
      return true;
    default:
      return false;
  }
}

std::string_view first_value(const std::vector<Field>& fields, FieldId id) {
  for (const Field& field : fields) {
    if (field.id == id) return field.value;
  }
  return {};
}

// Every X-Forwarded-For line, joined.
void write_forwarded_for(const std::vector<Field>& fields, Writer& out) {
  bool first = true;
  for (const Field& field : fields) {
    if (field.id != FieldId::x_forwarded_for || field.value.empty()) continue;
    if (!first) out << ", ";
    out << field.value;
    first = false;
  }
}

void write_forwarding(const RequestHead& head, const RequestFacts& facts, const ClientFacts& client,
                      Writer& out) {
  const bool chain = !first_value(head.fields, FieldId::x_forwarded_for).empty();
  const auto given = [&](FieldId id) {
    return client.trusted ? first_value(head.fields, id) : std::string_view();
  };
  if (chain && client.trusted) {
    out << "X-Forwarded-For: ";
    write_forwarded_for(head.fields, out);
    out << ", " << client.address << "\r\n";
  } else {
    out.field("X-Forwarded-For", client.address);
    if (chain) {
      out << "X-Original-Forwarded-For: ";
      write_forwarded_for(head.fields, out);
      out << "\r\n";
    }
  }
  const std::string_view host = given(FieldId::x_forwarded_host);
  out.field("X-Forwarded-Host", host.empty() ? facts.authority : host);
  if (const auto port = given(FieldId::x_forwarded_port); !port.empty()) {
    out.field("X-Forwarded-Port", port);
  } else {
    out << "X-Forwarded-Port: " << uint64_t{client.port} << "\r\n";
  }
  std::string_view proto = given(FieldId::x_forwarded_proto);
  if (proto.empty()) proto = client.tls ? "https" : "http";
  out.field("X-Forwarded-Proto", proto);
  out.field("X-Forwarded-Scheme", proto);
  out.field("X-Scheme", proto);
  out.field("X-Real-IP", client.real);
  if (const auto forwarded = given(FieldId::forwarded); !forwarded.empty()) {
    out.field("Forwarded", forwarded);
  }
}

void write_status_line(int status, std::string_view reason, Writer& out) {
  out << "HTTP/1.1 " << static_cast<uint64_t>(status) << " " << reason << "\r\n";
}

}  // namespace

size_t write_request_head(const RequestHead& head, const RequestFacts& facts,
                          const ClientFacts& client, std::span<char> buffer) {
  Writer out(buffer);
  out << head.method << " " << facts.target << " HTTP/1.1\r\n";
  out.field("Host", facts.authority);
  out.field("X-Request-ID", client.request_id);
  write_forwarding(head, facts, client, out);
  const HopByHop hop(head.fields);
  for (const Field& field : head.fields) {
    if (hop.drops(field) || is_forwarding_field(field.id)) continue;
    switch (field.id) {
      case FieldId::host:
      case FieldId::x_request_id:
      case FieldId::content_length:
      case FieldId::proxy:
        continue;
      case FieldId::expect:
        if (!facts.expect_continue) continue;
        break;
      case FieldId::other:
        // Many programs read `_` and `-` as the same.
        if (field.name.find('_') != std::string_view::npos) continue;
        break;
      default:
        break;
    }
    out.field(field.name, field.value);
  }
  const bool has_length = std::any_of(head.fields.begin(), head.fields.end(), [](const Field& f) {
    return f.id == FieldId::content_length;
  });
  if (facts.body.kind == BodyFraming::Kind::chunked) {
    out.field("Transfer-Encoding", "chunked");
  } else if (has_length) {
    out << "Content-Length: " << facts.body.length << "\r\n";
  }
  if (!facts.upgrade.empty()) {
    out.field("Connection", "upgrade");
    out.field("Upgrade", facts.upgrade);
  }
  out << "\r\n";
  return out.size();
}

size_t write_response_head(const ResponseHead& head, const ResponseFacts& facts,
                           const ResponseStyle& style, std::span<char> buffer) {
  Writer out(buffer);
  write_status_line(head.status, head.reason, out);
  const bool interim = head.status < 200;
  const bool bodiless = interim || head.status == 204;
  bool date = interim, server = interim;
  const HopByHop hop(head.fields);
  for (const Field& field : head.fields) {
    if (hop.drops(field) || (field.id == FieldId::content_length && bodiless)) continue;
    date |= field.id == FieldId::date;
    server |= field.id == FieldId::server;
    out.field(field.name, field.value);
  }
  if (!server) out.field("Server", "fairlead");
  if (!date) out.field("Date", style.date);
  if (style.chunked) out.field("Transfer-Encoding", "chunked");
  if (head.status == 101) {
    out.field("Connection", "upgrade");
    out.field("Upgrade", facts.upgrade);
  } else if (style.close && !interim) {
    out.field("Connection", "close");
  } else if (style.keep_alive && !interim) {
    out.field("Connection", "keep-alive");
  }
  out << "\r\n";
  return out.size();
}

size_t write_answer(const Answer& answer, const ResponseStyle& style, bool with_body,
                    std::span<char> buffer) {
  Writer out(buffer);
  const std::string_view reason = net::reason_phrase(answer.status);
  write_status_line(answer.status, reason, out);
  const std::string body =
      cat(answer.status, ' ', reason, answer.text.empty() ? "" : ": ", answer.text, '\n');
  out.field("Server", "fairlead");
  out.field("Date", style.date);
  out.field("Content-Type", "text/plain; charset=utf-8");
  out << "Content-Length: " << uint64_t{body.size()} << "\r\n";
  if (!answer.field.empty()) out << answer.field << "\r\n";
  if (style.close) out.field("Connection", "close");
  if (style.keep_alive && !style.close) out.field("Connection", "keep-alive");
  out << "\r\n";
  if (with_body) out << body;
  return out.size();
}

std::string_view real_client(const std::vector<Field>& fields, const std::vector<Cidr>& trusted) {
  std::string_view leftmost;
  for (auto field = fields.rbegin(); field != fields.rend(); ++field) {
    if (field->id != FieldId::x_forwarded_for) continue;
    std::string_view chain = field->value;
    while (!chain.empty()) {
      const size_t comma = chain.rfind(',');
      const std::string_view hop = trim(comma == chain.npos ? chain : chain.substr(comma + 1));
      chain = comma == chain.npos ? std::string_view() : chain.substr(0, comma);
      const auto ip = Ip::parse(hop);
      if (!ip) return leftmost;  // nothing to the left of it can be believed
      leftmost = hop;
      const bool known = std::any_of(trusted.begin(), trusted.end(),
                                     [&](const Cidr& cidr) { return cidr.contains(*ip); });
      if (!known) return hop;
    }
  }
  return leftmost;
}

std::string_view given_request_id(const std::vector<Field>& fields) {
  const std::string_view id = first_value(fields, FieldId::x_request_id);
  const auto harmless = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == ':' || c == '=' || c == '+' || c == '/';
  };
  if (id.empty() || id.size() > 128 || !std::all_of(id.begin(), id.end(), harmless)) return {};
  return id;
}

}  // namespace fairlead::ingress
