#include "dns/types.h"

#include <array>

#include "base/text.h"

namespace fairlead::dns {
namespace {

struct TypeName {
  uint16_t type;
  std::string_view name;
};
// The first counted_types - 1 rows have a metric label of their own, as in CoreDNS
// plugin/metrics/vars/monitor.go.
constexpr std::array type_names = std::to_array<TypeName>(
    {{1, "A"},       {28, "AAAA"},  {33, "SRV"},   {12, "PTR"},   {5, "CNAME"}, {6, "SOA"},
     {16, "TXT"},    {2, "NS"},     {15, "MX"},    {65, "HTTPS"}, {64, "SVCB"}, {43, "DS"},
     {48, "DNSKEY"}, {47, "NSEC"},  {50, "NSEC3"}, {46, "RRSIG"}, {255, "ANY"}, {252, "AXFR"},
     {251, "IXFR"},  {13, "HINFO"}, {35, "NAPTR"}, {39, "DNAME"}, {41, "OPT"},  {44, "SSHFP"},
     {52, "TLSA"},   {257, "CAA"},  {249, "TKEY"}, {250, "TSIG"}, {29, "LOC"},  {99, "SPF"}});

constexpr std::array<std::string_view, 17> rcode_names = {
    "NOERROR",  "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",  "REFUSED",
    "YXDOMAIN", "YXRRSET", "NXRRSET",  "NOTAUTH",  "NOTZONE", "DSOTYPENI",
    "RCODE12",  "RCODE13", "RCODE14",  "RCODE15",  "BADVERS"};

}  // namespace

std::string type_text(uint16_t type) {
  for (const auto& row : type_names) {
    if (row.type == type) return std::string(row.name);
  }
  return cat("TYPE", type);
}

std::string class_text(uint16_t klass) {
  switch (klass) {
    case 1:
      return "IN";
    case 3:
      return "CH";
    case 4:
      return "HS";
    case 255:
      return "ANY";
    default:
      return cat("CLASS", klass);
  }
}

std::string_view rcode_text(uint8_t rcode) {
  return rcode < rcode_names.size() ? rcode_names[rcode] : "BADRCODE";
}

uint16_t type_from_text(std::string_view text) {
  for (const auto& row : type_names) {
    if (equals_ignore_case(row.name, text)) return row.type;
  }
  if (text.size() > 4 && equals_ignore_case(text.substr(0, 4), "TYPE")) {
    return static_cast<uint16_t>(parse_int(text.substr(4), 0, 65535).value_or(0));
  }
  return 0;
}

size_t counted_type(uint16_t type) {
  size_t i = 0;
  while (i < counted_types - 1 && type_names[i].type != type) ++i;
  return i;
}

std::string_view counted_type_text(size_t index) {
  return index < counted_types - 1 ? type_names[index].name : "other";
}

}  // namespace fairlead::dns
