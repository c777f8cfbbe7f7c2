// Issues certificates (RFC 5280): the second half of net/tls.h.
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "base/text.h"
#include "net/openssl_handles.h"
#include "net/tls.h"

namespace fairlead::net {
namespace {

using GeneralNames = std::unique_ptr<GENERAL_NAMES, OpensslFree<GENERAL_NAMES_free>>;

std::unexpected<Error> fail_issue(const CertificateRequest& request, std::string_view what) {
  return fail(cat("certificate for \"", request.common_name, "\": ", what, ": ", openssl_error()));
}

bool add_name_entry(X509_NAME* name, const char* field, const std::string& value) {
  return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

// Kubernetes reads a user from CN and groups from O (authentication by client certificate).
Result<void> set_subject(X509* certificate, const CertificateRequest& request) {
  X509_NAME* name = X509_get_subject_name(certificate);
  for (const std::string& organization : request.organizations) {
    if (!add_name_entry(name, "O", organization)) {
      return fail_issue(request, cat("organization \"", organization, "\""));
    }
  }
  if (!add_name_entry(name, "CN", request.common_name)) {
    return fail_issue(request, "common name (expected 1 to 64 characters)");
  }
  return {};
}

bool add_alt_name(GENERAL_NAMES* names, int type, ASN1_STRING* value) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  GENERAL_NAME_set0_value(name, type, value);
  return sk_GENERAL_NAME_push(names, name) > 0;
}

// Built as structures, not as configuration text, so that no name can smuggle in another.
Result<void> add_alt_names(X509* certificate, const CertificateRequest& request) {
  if (request.dns_names.empty() && request.ips.empty()) return {};
  const GeneralNames names(GENERAL_NAMES_new());
  for (const std::string& dns : request.dns_names) {
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, dns.data(), static_cast<int>(dns.size()));
    if (!add_alt_name(names.get(), GEN_DNS, text)) return fail_issue(request, dns);
  }
  for (const Ip& ip : request.ips) {
    ASN1_OCTET_STRING* bytes = ASN1_OCTET_STRING_new();
    const int skip = ip.is_v4() ? 12 : 0;
    ASN1_STRING_set(bytes, ip.bytes.data() + skip, 16 - skip);
    if (!add_alt_name(names.get(), GEN_IPADD, bytes)) return fail_issue(request, ip.to_string());
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) !=
      1) {
    return fail_issue(request, "subject alternative names");
  }
  return {};
}

// RFC 5280 4.2.1: what the key may be used for. Peers refuse a certificate of the wrong kind.
Result<void> add_extensions(X509* certificate, X509* issuer, const CertificateRequest& request) {
  struct Extension {
    int nid;
    const char* value;
  };
  std::vector<Extension> extensions;
  if (request.is_authority) {
    extensions = {{NID_basic_constraints, "critical,CA:TRUE"},
                  {NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign"}};
  } else {
    extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                  {NID_key_usage, "critical,digitalSignature"},
                  {NID_ext_key_usage, request.for_client ? "clientAuth" : "serverAuth"}};
  }
  extensions.push_back({NID_subject_key_identifier, "hash"});
  if (issuer != certificate) extensions.push_back({NID_authority_key_identifier, "keyid:always"});
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  for (const Extension& row : extensions) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, row.nid, row.value);
    const bool added = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    if (!added) return fail_issue(request, row.value);
  }
  return add_alt_names(certificate, request);
}

Result<void> set_serial_and_dates(X509* certificate, const CertificateRequest& request) {
  unsigned char serial[16];
  if (RAND_bytes(serial, sizeof serial) != 1) return fail_issue(request, "serial number");
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);  // positive, of full length
  BIGNUM* number = BN_bin2bn(serial, sizeof serial, nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
  constexpr long hour_s = 3600;  // for peers whose clock is behind
  X509_gmtime_adj(X509_getm_notBefore(certificate), -hour_s);
  if (X509_time_adj_ex(X509_getm_notAfter(certificate), request.days, 0, nullptr) == nullptr) {
    return fail_issue(request, cat("days is ", request.days));
  }
  return {};
}

template <class Write>
std::string to_pem(Write write) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  write(bio.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

// A null issuer signs itself.
Result<CertificatePair> make(const CertificateRequest& request, X509* issuer,
                             EVP_PKEY* issuer_key) {
  ERR_clear_error();
  if (request.days < 1) {
    return fail(cat("certificate for \"", request.common_name, "\": days is ", request.days,
                    ", expected at least 1"));
  }
  const KeyPtr key(EVP_EC_gen("P-256"));
  const X509Ptr certificate(X509_new());
  if (!key || !certificate) return fail_issue(request, "key generation");
  X509_set_version(certificate.get(), X509_VERSION_3);
  X509* signer = issuer != nullptr ? issuer : certificate.get();
  X509_set_pubkey(certificate.get(), key.get());
  FL_TRY_VOID(set_serial_and_dates(certificate.get(), request));
  FL_TRY_VOID(set_subject(certificate.get(), request));
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer));
  FL_TRY_VOID(add_extensions(certificate.get(), signer, request));
  if (X509_sign(certificate.get(), issuer_key != nullptr ? issuer_key : key.get(), EVP_sha256()) ==
      0) {
    return fail_issue(request, "signature");
  }
  CertificatePair pair;
  pair.certificate_pem = to_pem([&](BIO* bio) { PEM_write_bio_X509(bio, certificate.get()); });
  pair.key_pem = to_pem([&](BIO* bio) {
    PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  return pair;
}

}  // namespace

Result<CertificatePair> self_signed(const CertificateRequest& request) {
  return make(request, nullptr, nullptr);
}

Result<CertificatePair> issue(const CertificateRequest& request, const CertificatePair& authority) {
  FL_TRY(const auto issuers, read_certificates(authority.certificate_pem, "authority"));
  FL_TRY(const KeyPtr issuer_key, read_key(authority.key_pem, "authority key"));
  X509* issuer = issuers.front().get();
  if (X509_check_ca(issuer) == 0) return fail("authority: the certificate is not that of a CA");
  if (X509_check_private_key(issuer, issuer_key.get()) != 1) {
    ERR_clear_error();
    return fail("authority key: it does not belong to the authority certificate");
  }
  return make(request, issuer, issuer_key.get());
}

}  // namespace fairlead::net
