// TLS contexts on OpenSSL 3. Keys and certificates are PEM text; errors name what is wrong with
// which of them, and never quote key material.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

struct ssl_ctx_st;

namespace fairlead::net {

// Immutable after creation, shared by connections of any thread.
class TlsContext {
 public:
  struct ServerOptions {
    std::string certificate_pem;  // leaf first, then the chain
    std::string key_pem;
    std::string client_ca_pem;  // when set: request client certificates and verify those sent
  };
  struct ClientOptions {
    std::string ca_pem;           // "" = the system's trust store
    std::string certificate_pem;  // client certificate, optional
    std::string key_pem;
    std::string server_name;  // SNI and the name (or IP) that the certificate must have
    bool insecure_skip_verify = false;
  };

  static Result<std::shared_ptr<const TlsContext>> server(const ServerOptions& options);
  static Result<std::shared_ptr<const TlsContext>> client(const ClientOptions& options);
  ~TlsContext();

  ssl_ctx_st* native() const { return context_; }
  const std::string& server_name() const { return server_name_; }

 private:
  TlsContext() = default;
  ssl_ctx_st* context_ = nullptr;
  std::string server_name_;
};

struct CertificatePair {
  std::string certificate_pem;
  std::string key_pem;
};

// ECDSA P-256. For the control plane's own authority and for test material.
struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<Ip> ips;
  bool is_authority = false;
  bool for_client = false;
  int days = 365;
};
Result<CertificatePair> self_signed(const CertificateRequest& request);
Result<CertificatePair> issue(const CertificateRequest& request, const CertificatePair& authority);

}  // namespace fairlead::net
