#include "ingress/certificate.h"

#include <openssl/err.h>

#include "base/text.h"
#include "net/openssl_handles.h"

namespace fairlead::ingress {
namespace {

using net::KeyPtr;
using net::X509Ptr;

void free_names(GENERAL_NAMES* names) { GENERAL_NAMES_free(names); }
using NamesPtr = std::unique_ptr<GENERAL_NAMES, net::OpensslFree<free_names>>;

void free_chain(STACK_OF(X509) * chain) { sk_X509_pop_free(chain, X509_free); }
using ChainPtr = std::unique_ptr<STACK_OF(X509), net::OpensslFree<free_chain>>;

std::vector<std::string> names_of(X509* leaf) {
  std::vector<std::string> out;
  const NamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    const auto* text = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName));
    out.push_back(to_lower({text, static_cast<size_t>(ASN1_STRING_length(name->d.dNSName))}));
  }
  if (out.empty()) {
    char common_name[256];
    const int length = X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName,
                                                 common_name, sizeof common_name);
    if (length > 0) out.push_back(to_lower({common_name, static_cast<size_t>(length)}));
  }
  return out;
}

}  // namespace

struct Certificate::Parts {
  X509Ptr leaf;
  KeyPtr key;
  ChainPtr chain{sk_X509_new_null()};
};

Certificate::~Certificate() = default;

Result<std::shared_ptr<const Certificate>> Certificate::parse(std::string_view certificate_pem,
                                                              std::string_view key_pem,
                                                              std::string source) {
  auto parts = std::make_unique<Parts>();
  FL_TRY(auto certificates, net::read_certificates(certificate_pem, "tls.crt"));
  parts->leaf = std::move(certificates[0]);
  for (size_t i = 1; i < certificates.size(); ++i) {
    sk_X509_push(parts->chain.get(), certificates[i].release());
  }
  FL_TRY(parts->key, net::read_key(key_pem, "tls.key"));
  if (X509_check_private_key(parts->leaf.get(), parts->key.get()) != 1) {
    ERR_clear_error();
    return fail("tls.key is not the key of the first certificate in tls.crt");
  }
  auto out = std::shared_ptr<Certificate>(new Certificate);
  out->names_ = names_of(parts->leaf.get());
  out->expired_ = X509_cmp_current_time(X509_get0_notAfter(parts->leaf.get())) < 0;
  out->source_ = std::move(source);
  out->parts_ = std::move(parts);
  return out;
}

Result<std::shared_ptr<const Certificate>> Certificate::from_secret(const api::Secret& secret) {
  if (secret.type != "kubernetes.io/tls") {
    return fail(cat("its type is '", secret.type, "', expected kubernetes.io/tls"));
  }
  const auto certificate = secret.data.find("tls.crt");
  const auto key = secret.data.find("tls.key");
  if (certificate == secret.data.end()) return fail("it has no key tls.crt");
  if (key == secret.data.end()) return fail("it has no key tls.key");
  return parse(certificate->second, key->second, cat("Secret ", secret.meta.key.to_string()));
}

bool Certificate::use(ssl_st* session) const {
  return SSL_use_cert_and_key(session, parts_->leaf.get(), parts_->key.get(), parts_->chain.get(),
                              1) == 1;
}

}  // namespace fairlead::ingress
