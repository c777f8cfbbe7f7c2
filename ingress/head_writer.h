// The heads that fairlead sends: written once into a buffer, field by field, without a message
// object in between.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "ingress/framing_guard.h"
#include "ingress/head.h"

namespace fairlead::ingress {

// More than any request or response head grows on its way through.
inline constexpr size_t head_growth_bytes = 4 * 1024;
inline constexpr size_t max_header_bytes = 48 * 1024;

// Who the client is, for the X-Forwarded-* fields. Those that came from the client are replaced
// (X-Forwarded-For moves to X-Original-Forwarded-For) unless the peer is trusted.
struct ClientFacts {
  std::string_view address;     // of the peer
  std::string_view real;        // of the client behind trusted peers; else the same
  std::string_view request_id;  // as it is sent on
  uint16_t port = 0;            // that the client connected to
  bool tls = false;
  bool trusted = false;
};

// These three return how much they wrote. REQUIRES: `out` holds the head they copy from and
// head_growth_bytes.
size_t write_request_head(const RequestHead& head, const RequestFacts& facts,
                          const ClientFacts& client, std::span<char> out);

struct ResponseStyle {
  std::string_view date;    // for responses that have none
  bool close = false;       // say Connection: close
  bool keep_alive = false;  // say Connection: keep-alive (to HTTP/1.0)
  bool chunked = false;     // as it goes to the client
};
size_t write_response_head(const ResponseHead& head, const ResponseFacts& facts,
                           const ResponseStyle& style, std::span<char> out);

// An answer of our own: a line of text.
struct Answer {
  int status = 500;
  std::string_view text;
  std::string_view field;  // one more field line, without line end: "Location: https://..."
};
size_t write_answer(const Answer& answer, const ResponseStyle& style, bool with_body,
                    std::span<char> out);

// The right-most address of the X-Forwarded-For fields that is not trusted, or "".
std::string_view real_client(const std::vector<Field>& fields, const std::vector<Cidr>& trusted);
// The client's own X-Request-ID, if it is one of 1 to 128 harmless characters, else "".
std::string_view given_request_id(const std::vector<Field>& fields);

}  // namespace fairlead::ingress
