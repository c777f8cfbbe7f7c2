// The line that `log` writes for a query: a format with variables, as in CoreDNS plugin/log.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "dns/message.h"

namespace fairlead::dns {

inline constexpr std::string_view log_format_common =
    "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" "
    "{rcode} {>rflags} {rsize} {duration}";
inline constexpr std::string_view log_format_combined =
    "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" "
    "{rcode} {>rflags} {rsize} {duration} \"{>opcode}\"";

struct LogFacts {
  const Request* request;
  SocketAddress client;
  bool tcp;
  uint8_t rcode;
  uint16_t reply_flags;
  size_t reply_bytes;
  int64_t duration_ns;
};

std::string format_log_line(std::string_view format, const LogFacts& facts);
// The first {variable} that is not known.
std::optional<std::string> unknown_log_variable(std::string_view format);
std::string log_variable_names();

}  // namespace fairlead::dns
