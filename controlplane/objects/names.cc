#include "controlplane/objects/names.h"

#include <algorithm>
#include <initializer_list>

#include "base/ip.h"
#include "base/text.h"

namespace fairlead::controlplane {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z'); }
bool is_lower_alnum(char c) { return is_lower(c) || is_digit(c); }

std::string too_long(size_t max) { return cat("must be no more than ", max, " characters"); }

// "<rule> (e.g. 'a',  or 'b', regex used for validation is '<regex>')"
std::string syntax(std::string_view rule, std::initializer_list<std::string_view> examples,
                   std::string_view regex) {
  std::string out = cat(rule, " (e.g. ");
  bool first = true;
  for (std::string_view example : examples) {
    out += cat(first ? "" : " or ", "'", example, "', ");
    first = false;
  }
  return out + cat("regex used for validation is '", regex, "')");
}

constexpr std::string_view kLabel = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
constexpr std::string_view kSubdomain =
    "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";

bool is_label(std::string_view text) {
  return !text.empty() && is_lower_alnum(text.front()) && is_lower_alnum(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return is_lower_alnum(c) || c == '-'; });
}

bool is_subdomain(std::string_view text) {
  const auto labels = split(text, '.');
  return std::all_of(labels.begin(), labels.end(), is_label);
}

// [A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?
bool is_loose_name(std::string_view text) {
  return !text.empty() && is_alnum(text.front()) && is_alnum(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

Complaints prefixed(std::string_view prefix, Complaints complaints) {
  for (std::string& complaint : complaints) complaint.insert(0, prefix);
  return complaints;
}

}  // namespace

Complaints dns_label(std::string_view text) {
  Complaints out;
  if (text.size() > 63) out.push_back(too_long(63));
  if (!is_label(text))
    out.push_back(
        syntax("a lowercase RFC 1123 label must consist of lower case alphanumeric "
               "characters or '-', and must start and end with an alphanumeric character",
               {"my-name", "123-abc"}, kLabel));
  return out;
}

Complaints dns_subdomain(std::string_view text) {
  Complaints out;
  if (text.size() > 253) out.push_back(too_long(253));
  if (!is_subdomain(text))
    out.push_back(
        syntax("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
               "characters, '-' or '.', and must start and end with an alphanumeric "
               "character",
               {"example.com"}, kSubdomain));
  return out;
}

Complaints dns_1035_label(std::string_view text) {
  Complaints out;
  if (text.size() > 63) out.push_back(too_long(63));
  if (!is_label(text) || !is_lower(text.front()))
    out.push_back(
        syntax("a DNS-1035 label must consist of lower case alphanumeric characters or "
               "'-', start with an alphabetic character, and end with an alphanumeric "
               "character",
               {"my-name", "abc-123"}, "[a-z]([-a-z0-9]*[a-z0-9])?"));
  return out;
}

Complaints wildcard_subdomain(std::string_view text) {
  Complaints out;
  if (text.size() > 253) out.push_back(too_long(253));
  if (!text.starts_with("*.") || !is_subdomain(text.substr(2)))
    out.push_back(
        syntax("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid "
               "DNS subdomain, which must consist of lower case alphanumeric "
               "characters, '-' or '.' and end with an alphanumeric character",
               {"*.example.com"}, cat("\\*\\.", kSubdomain)));
  return out;
}

Complaints qualified_name(std::string_view text) {
  constexpr std::string_view regex = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
  Complaints out;
  std::string_view name = text;
  const size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view prefix = text.substr(0, slash);
    name = text.substr(slash + 1);
    if (name.find('/') != std::string_view::npos)
      return {cat("a qualified name ",
                  syntax("must consist of alphanumeric characters, '-', '_' or '.', and must start "
                         "and end with an alphanumeric character",
                         {"MyName", "my.name", "123-abc"}, regex),
                  " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")};
    if (prefix.empty())
      out.push_back("prefix part must be non-empty");
    else
      out = prefixed("prefix part ", dns_subdomain(prefix));
  }
  if (name.empty())
    out.push_back("name part must be non-empty");
  else if (name.size() > 63)
    out.push_back("name part " + too_long(63));
  if (!is_loose_name(name))
    out.push_back("name part " +
                  syntax("must consist of alphanumeric characters, '-', '_' or '.', and must start "
                         "and end with an alphanumeric character",
                         {"MyName", "my.name", "123-abc"}, regex));
  return out;
}

Complaints label_value(std::string_view text) {
  Complaints out;
  if (text.size() > 63) out.push_back(too_long(63));
  if (!text.empty() && !is_loose_name(text))
    out.push_back(
        syntax("a valid label must be an empty string or consist of alphanumeric "
               "characters, '-', '_' or '.', and must start and end with an alphanumeric "
               "character",
               {"MyValue", "my_value", "12345"}, "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"));
  return out;
}

Complaints config_key(std::string_view text) {
  Complaints out;
  if (text.size() > 253) out.push_back(too_long(253));
  const bool good = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alnum(c) || c == '-' || c == '_' || c == '.';
  });
  if (!good)
    out.push_back(
        syntax("a valid config key must consist of alphanumeric characters, '-', '_' or "
               "'.'",
               {"key.name", "KEY_NAME", "key-name"}, "[-._a-zA-Z0-9]+"));
  if (text == "." || text == "..") out.push_back(cat("must not be '", text, "'"));
  if (text.starts_with("..") && text != "..") out.push_back("must not start with '..'");
  return out;
}

Complaints port_name(std::string_view text) {
  Complaints out;
  if (text.size() > 15) out.push_back(too_long(15));
  if (text.empty() ||
      !std::all_of(text.begin(), text.end(), [](char c) { return is_lower_alnum(c) || c == '-'; }))
    out.push_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (std::none_of(text.begin(), text.end(), is_lower))
    out.push_back("must contain at least one letter (a-z)");
  if (text.find("--") != std::string_view::npos)
    out.push_back("must not contain consecutive hyphens");
  if (!text.empty() && (text.front() == '-' || text.back() == '-'))
    out.push_back("must not begin or end with a hyphen");
  return out;
}

Complaints path_segment(std::string_view text) {
  if (text == "." || text == "..") return {cat("may not be '", text, "'")};
  Complaints out;
  for (char bad : {'/', '%'})
    if (text.find(bad) != std::string_view::npos) out.push_back(cat("may not contain '", bad, "'"));
  return out;
}

Complaints domain_prefixed_path(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size())
    return {"must be a domain-prefixed path (such as \"acme.io/foo\")"};
  return dns_subdomain(text.substr(0, slash));
}

Complaints port_number(int64_t port) {
  if (port >= 1 && port <= 65535) return {};
  return {"must be between 1 and 65535, inclusive"};
}

Complaints ip_address(std::string_view text) {
  if (Ip::parse(text)) return {};
  return {"must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"};
}

Complaints endpoint_ip(std::string_view text) {
  const auto ip = Ip::parse(text);
  if (!ip) return ip_address(text);
  Complaints out;
  if (ip->is_unspecified()) out.push_back(cat("may not be unspecified (", text, ")"));
  if (ip->is_loopback()) out.push_back("may not be in the loopback range (127.0.0.0/8, ::1/128)");
  if (Cidr::parse("169.254.0.0/16")->contains(*ip) || Cidr::parse("fe80::/10")->contains(*ip))
    out.push_back("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  if (Cidr::parse("224.0.0.0/24")->contains(*ip) || Cidr::parse("ff02::/10")->contains(*ip))
    out.push_back("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
  return out;
}

}  // namespace fairlead::controlplane
