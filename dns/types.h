// Numbers of the DNS protocol and their names (IANA "Domain Name System Parameters").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fairlead::dns {

namespace type {
inline constexpr uint16_t a = 1, ns = 2, cname = 5, soa = 6, ptr = 12, hinfo = 13, mx = 15,
                          txt = 16, aaaa = 28, srv = 33, dname = 39, opt = 41, ds = 43, tkey = 249,
                          tsig = 250, ixfr = 251, axfr = 252, any = 255;
}
namespace klass {
inline constexpr uint16_t in = 1, any = 255;
}
namespace rcode {
inline constexpr uint8_t no_error = 0, form_err = 1, serv_fail = 2, nx_domain = 3, not_imp = 4,
                         refused = 5, bad_vers = 16;
}
namespace flag {  // of the header's second 16 bits
inline constexpr uint16_t qr = 0x8000, opcode = 0x7800, aa = 0x0400, tc = 0x0200, rd = 0x0100,
                          ra = 0x0080, ad = 0x0020, cd = 0x0010, rcode = 0x000f;
}

std::string type_text(uint16_t type);            // "AAAA", else "TYPE65280" (RFC 3597 section 5)
std::string class_text(uint16_t klass);          // "IN", else "CLASS7"
std::string_view rcode_text(uint8_t rcode);      // "NXDOMAIN"
uint16_t type_from_text(std::string_view text);  // 0 when unknown; TYPE123 is understood

// The label value of the metrics: the common types by name, everything else one bucket.
inline constexpr size_t counted_types = 20;
size_t counted_type(uint16_t type);
std::string_view counted_type_text(size_t index);  // "A", ..., "other"

}  // namespace fairlead::dns
