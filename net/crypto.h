// Digests and random bytes, for rooms that need no more of OpenSSL than these.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fairlead::net {

std::string sha256(std::string_view bytes);  // 32 raw bytes; hex_encode() them for text
std::string random_bytes(size_t count);      // fit for keys; dies when the kernel has none
bool equal_constant_time(std::string_view a, std::string_view b);  // for secrets; length may leak

}  // namespace fairlead::net
