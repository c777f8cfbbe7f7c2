// The head of a message as views into the buffer that it arrived in.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace fairlead::ingress {

// The fields that a proxy acts on; everything else is passed through as `other`.
enum class FieldId : uint8_t {
  other,
  connection,
  content_length,
  cookie,
  date,
  expect,
  forwarded,
  host,
  http2_settings,
  keep_alive,
  proxy,  // no real field: CGI programs would take it for their HTTP_PROXY variable
  proxy_connection,
  referer,
  sec_websocket_version,
  server,
  te,
  trailer,
  transfer_encoding,
  upgrade,
  user_agent,
  x_forwarded_for,
  x_forwarded_host,
  x_forwarded_port,
  x_forwarded_proto,
  x_forwarded_scheme,
  x_original_forwarded_for,
  x_real_ip,
  x_request_id,
  x_scheme,
};

struct Field {
  FieldId id = FieldId::other;
  std::string_view name, value;  // value without surrounding blanks
};

struct RequestHead {
  std::string_view method, target;
  int version = 11;  // 10 or 11
  std::vector<Field> fields;
};

struct ResponseHead {
  int status = 0;
  std::string_view reason;
  int version = 11;
  std::vector<Field> fields;
};

}  // namespace fairlead::ingress
