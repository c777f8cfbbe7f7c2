// Message heads and chunks as bytes (RFC 9112 sections 3 to 7).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "net/http.h"

namespace fairlead::net {

struct ResponseFraming {
  bool keep_alive = true;
  bool chunked = false;
  int minor_version = 1;                 // of the request
  std::optional<size_t> content_length;  // none: chunked, until close, or a status without body
};

// Framing fields (Content-Length, Transfer-Encoding, Connection) of the response's own headers are
// left out; characters that would end a line become spaces, malformed names are left out.
std::string response_head(const HttpResponse& response, const ResponseFraming& framing,
                          std::string_view date);

// Head and body in one. `host` is used when the request has no Host field. Headers that could not
// be sent as they are make an error.
Result<std::string> request_bytes(const HttpRequest& request, std::string_view host);

void append_chunk(std::string& out, std::string_view bytes);  // REQUIRES: not empty
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

std::string http_date(WallTime time);  // "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7)

}  // namespace fairlead::net
