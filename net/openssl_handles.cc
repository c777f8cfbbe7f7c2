#include "net/openssl_handles.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <cstring>

#include "base/text.h"

namespace fairlead::net {
namespace {

// An encrypted key must be an error, not a question on the terminal.
int no_password(char*, int, int, void*) { return 0; }

BioPtr open_pem(std::string_view pem) {
  return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

bool is_end_of_pem(unsigned long error) {
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

}  // namespace

std::string openssl_error() {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return "unknown OpenSSL error";
  if (ERR_SYSTEM_ERROR(error)) return std::strerror(ERR_GET_REASON(error));
  const char* reason = ERR_reason_error_string(error);
  return reason != nullptr ? reason : cat("OpenSSL error ", error);
}

Result<std::vector<X509Ptr>> read_certificates(std::string_view pem, std::string_view what) {
  ERR_clear_error();
  std::vector<X509Ptr> certificates;
  const BioPtr bio = open_pem(pem);
  for (;;) {
    X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr));
    if (!certificate) break;
    certificates.push_back(std::move(certificate));
  }
  if (!is_end_of_pem(ERR_peek_last_error())) {
    return fail(cat(what, ": certificate ", certificates.size() + 1,
                    " of the PEM text cannot be read: ", openssl_error()));
  }
  ERR_clear_error();
  if (certificates.empty()) {
    return fail(cat(what, ": expected PEM text with -----BEGIN CERTIFICATE-----, found none"));
  }
  return certificates;
}

Result<KeyPtr> read_key(std::string_view pem, std::string_view what) {
  ERR_clear_error();
  const BioPtr bio = open_pem(pem);
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (key) return key;
  if (pem.find("-----BEGIN ENCRYPTED") != std::string_view::npos ||
      pem.find("Proc-Type: 4,ENCRYPTED") != std::string_view::npos) {
    ERR_clear_error();
    return fail(cat(what, ": the key is encrypted, expected one without a pass phrase"));
  }
  if (pem.find("PRIVATE KEY-----") == std::string_view::npos) {
    ERR_clear_error();
    return fail(cat(what, ": expected PEM text with -----BEGIN PRIVATE KEY-----, found none"));
  }
  return fail(cat(what, ": the private key cannot be read: ", openssl_error()));
}

}  // namespace fairlead::net
