// Name syntaxes with the complaints of the API server; an empty list is a good name.
// Source: apimachinery pkg/util/validation/validation.go.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead::controlplane {

using Complaints = std::vector<std::string>;

Complaints dns_label(std::string_view text);           // RFC 1123 label
Complaints dns_subdomain(std::string_view text);       // RFC 1123 labels joined by dots
Complaints dns_1035_label(std::string_view text);      // begins with a letter
Complaints wildcard_subdomain(std::string_view text);  // "*.example.com"
Complaints qualified_name(std::string_view text);      // "[example.com/]Name"
Complaints label_value(std::string_view text);
Complaints config_key(std::string_view text);            // key of a ConfigMap or Secret
Complaints port_name(std::string_view text);             // IANA service name
Complaints path_segment(std::string_view text);          // may stand in a URL's path
Complaints domain_prefixed_path(std::string_view text);  // "example.com/name"
Complaints port_number(int64_t port);                    // 1..65535
Complaints ip_address(std::string_view text);
// An address that traffic can be sent to: not unspecified, loopback or link-local.
Complaints endpoint_ip(std::string_view text);

}  // namespace fairlead::controlplane
