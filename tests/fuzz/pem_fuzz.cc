// Certificates and keys as Secrets and kubeconfigs hold them, one of a pair being what came in:
// refused in words, which never quote a key.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "net/tls.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::net;
  static const CertificatePair good = *self_signed({.common_name = "good"});
  const std::string text(reinterpret_cast<const char*>(data), size);
  const TlsContext::ServerOptions pairs[] = {
      {text, good.key_pem, ""},
      {good.certificate_pem, text, ""},
      {good.certificate_pem + text, good.key_pem + text, text},
  };
  for (const auto& pair : pairs) {
    const auto server = TlsContext::server(pair);
    if (server) continue;
    CHECK(!server.error().message.empty());
    CHECK(size < 64 || server.error().message.find(text) == std::string::npos);
  }
  const auto client = TlsContext::client({text, "", "", "name", false});
  if (!client) CHECK(!client.error().message.empty());
  return 0;
}
