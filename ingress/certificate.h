// A certificate chain with its key, as the TLS handshake needs it, and what it is good for.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/objects.h"
#include "base/result.h"

struct ssl_st;

namespace fairlead::ingress {

// Immutable; shared by connections of any thread.
class Certificate {
 public:
  // PEM text: leaf first, then the chain; the key must belong to the leaf and have no password.
  // `source` names it in status and logs. Errors never quote key material.
  static Result<std::shared_ptr<const Certificate>> parse(std::string_view certificate_pem,
                                                          std::string_view key_pem,
                                                          std::string source);
  // A Secret of type kubernetes.io/tls: keys tls.crt and tls.key.
  static Result<std::shared_ptr<const Certificate>> from_secret(const api::Secret& secret);

  ~Certificate();
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;

  // DNS names of the subjectAltName extension, lower case; else the common name.
  const std::vector<std::string>& names() const { return names_; }
  const std::string& source() const { return source_; }
  bool expired() const { return expired_; }  // when it was parsed

  // Makes the handshake under way present this certificate.
  bool use(ssl_st* session) const;

 private:
  Certificate() = default;
  struct Parts;
  std::unique_ptr<Parts> parts_;
  std::vector<std::string> names_;
  std::string source_;
  bool expired_ = false;
};

}  // namespace fairlead::ingress
