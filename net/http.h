// HTTP/1.1 messages as values, used by both the server and the client (RFC 9110, RFC 9112).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fairlead::net {

// Field lines in order; names compare without case.
class Headers {
 public:
  void add(std::string name, std::string value) {
    lines_.emplace_back(std::move(name), std::move(value));
  }
  void set(std::string_view name, std::string value);  // replaces every line of that name
  void remove(std::string_view name);                  // every line of that name
  std::string_view get(std::string_view name) const;   // the first value, or ""
  bool has(std::string_view name) const;
  auto begin() const { return lines_.begin(); }
  auto end() const { return lines_.end(); }
  size_t size() const { return lines_.size(); }

 private:
  std::vector<std::pair<std::string, std::string>> lines_;
};

// Whether a comma-separated list field has `token`, compared without case (RFC 9110 5.6.1).
bool has_token(const Headers& headers, std::string_view name, std::string_view token);

// Who is at the other end, as far as TLS or the kernel vouches for it.
struct Peer {
  std::string address;                          // "10.0.0.1:4711", or "unix" for a unix socket
  std::optional<uint32_t> uid;                  // unix sockets: SO_PEERCRED
  std::string certificate_user;                 // subject CN of a verified client certificate
  std::vector<std::string> certificate_groups;  // its O entries
};

struct HttpRequest {
  std::string method = "GET";
  std::string target = "/";  // origin-form: path and query as sent, still percent-encoded
  Headers headers;
  std::string body;
  Peer peer;  // filled by the server

  std::string_view path() const;   // before '?'
  std::string_view query() const;  // after '?', or ""
};

struct HttpResponse {
  int status = 200;
  Headers headers;
  std::string body;

  static HttpResponse text(int status, std::string body);
  static HttpResponse json(int status, std::string body);
};

std::string_view reason_phrase(int status);

// "a=1&b=x%20y" -> {{"a","1"},{"b","x y"}}. '+' is a space. Malformed escapes stay as they are.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query);
std::string percent_decode(std::string_view text);
std::string percent_encode(std::string_view text);  // everything but unreserved (RFC 3986 2.3)

}  // namespace fairlead::net
