// The small texts that come from everywhere: addresses, networks, durations, times, quantities,
// base64, URLs. What parses prints to something that parses to the same value.
#include <cmath>
#include <cstdint>
#include <string_view>

#include "api/quantity.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/ip.h"
#include "base/text.h"
#include "net/http.h"
#include "net/http_client.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto ip = Ip::parse(text)) CHECK(Ip::parse(ip->to_string()) == ip);
  if (const auto cidr = Cidr::parse(text)) {
    CHECK(Cidr::parse(cidr->to_string()) == cidr);
    CHECK(cidr->contains(cidr->at(0)));
  }
  if (const auto address = SocketAddress::parse(text)) {
    const auto again = SocketAddress::parse(address->to_string());
    CHECK(again && *again == *address);
  }
  if (const auto ms = parse_duration_ms(text)) {
    CHECK(*ms >= 0);
    CHECK(parse_duration_ms(cat(*ms, "ms")) == ms || *ms > 1'000'000'000);
  }
  if (const auto time = parse_rfc3339(text)) {
    const auto again = parse_rfc3339(to_rfc3339(*time));
    CHECK(again && to_rfc3339(*again) == to_rfc3339(*time));
  }
  if (const auto quantity = api::parse_quantity(text)) CHECK(std::isfinite(*quantity));
  if (const auto bytes = base64_decode(text)) CHECK(base64_decode(base64_encode(*bytes)) == bytes);
  CHECK(base64_decode(base64_encode(text)) == text);
  CHECK(net::percent_decode(net::percent_encode(text)) == text);
  for (const auto& [key, value] : net::parse_query(text)) CHECK(key.size() + value.size() <= size);
  if (const auto target = net::HttpTarget::parse(text, nullptr)) {
    CHECK(!target->unix_path.empty() || !target->host.empty());
  }
  return 0;
}
