// DNS messages as text and back, for tables of cases.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dns/message.h"

namespace fairlead::dns::testing {

struct AskOptions {
  uint16_t id = 1;
  uint16_t klass = 1;
  uint8_t opcode = 0;
  bool recursion_desired = true;
  bool edns = false;
  uint16_t udp_bytes = 1232;
  uint8_t version = 0;
  bool dnssec_ok = false;
  std::string options;  // EDNS options, as bytes
};

// A request. `name` in presentation form, any spelling.
std::string ask(std::string_view name, uint16_t type, const AskOptions& options = {});

struct Reply {
  std::string rcode;
  std::string flags;                                       // "qr aa rd"
  std::vector<std::string> answer, authority, additional;  // "name TTL TYPE data"
  std::string question;                                    // "name TYPE", or ""
  bool edns = false;
  uint16_t edns_bytes = 0;
  bool dnssec_ok = false;
};

// Fails the test when the message is malformed.
Reply read_reply(std::string_view wire);

// A whole reply to `request` made of lines "name TTL TYPE data" (A, AAAA, CNAME, PTR, TXT, NS, MX).
std::string make_reply(std::string_view request, uint8_t rcode,
                       const std::vector<std::string>& answers, uint16_t flags = 0x8180);

std::string hex(std::string_view bytes);
std::string unhex(std::string_view text);  // blanks are ignored

}  // namespace fairlead::dns::testing
