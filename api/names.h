// The name syntaxes of Kubernetes (apimachinery pkg/util/validation). Each gives "" for a good
// name, else what is wrong with it.
#pragma once

#include <string>
#include <string_view>

namespace fairlead::api {

std::string dns_label_problem(std::string_view text);  // RFC 1123: [a-z0-9]([-a-z0-9]*[a-z0-9])?
std::string dns_1035_label_problem(std::string_view text);      // as above, beginning with a letter
std::string dns_subdomain_problem(std::string_view text);       // labels joined by dots, <= 253
std::string wildcard_subdomain_problem(std::string_view text);  // *.subdomain
std::string label_key_problem(std::string_view text);           // [subdomain/]name
std::string label_value_problem(std::string_view text);

}  // namespace fairlead::api
