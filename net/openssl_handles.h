// Owners of OpenSSL objects and PEM text, for the .cc files of this room and of ingress.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fairlead::net {

template <auto Free>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, OpensslFree<BIO_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, OpensslFree<X509_free>>;
using SslPtr = std::unique_ptr<SSL, OpensslFree<SSL_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;

// The first reason on this thread's error queue, which is emptied. OpenSSL's reasons are constant
// texts: they never hold key material.
std::string openssl_error();

// `what` names the input in errors ("server certificate"). Certificates: at least one, in the order
// of the text. A key that is encrypted is an error.
Result<std::vector<X509Ptr>> read_certificates(std::string_view pem, std::string_view what);
Result<KeyPtr> read_key(std::string_view pem, std::string_view what);

}  // namespace fairlead::net
