#include "net/tls.h"

#include <openssl/err.h>

#include "base/text.h"
#include "net/openssl_handles.h"

namespace fairlead::net {
namespace {

constexpr unsigned char alpn_http11[] = "\x08http/1.1";  // RFC 7301 wire form: length, name
constexpr unsigned int alpn_size = sizeof alpn_http11 - 1;

// A client that speaks ALPN without http/1.1 is told so; one without ALPN is served (RFC 7301 3.2).
int select_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                unsigned int in_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, alpn_http11, alpn_size, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Result<SslContextPtr> new_context(const SSL_METHOD* method) {
  SslContextPtr context(SSL_CTX_new(method));
  if (!context) return fail(cat("cannot make a TLS context: ", openssl_error()));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  return context;
}

Result<void> use_identity(SSL_CTX* context, const std::string& certificate_pem,
                          const std::string& key_pem, const std::string& role) {
  FL_TRY(const auto chain, read_certificates(certificate_pem, role + " certificate"));
  FL_TRY(const KeyPtr key, read_key(key_pem, role + " key"));
  ERR_clear_error();
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1) {
    return fail(cat(role, " certificate: ", openssl_error()));
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) {
      return fail(cat(role, " certificate: chain entry ", i + 1, ": ", openssl_error()));
    }
  }
  if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
    ERR_clear_error();
    return fail(cat(role, " key: it does not belong to the ", role, " certificate"));
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return fail(cat(role, " key: ", openssl_error()));
  }
  return {};
}

Result<void> trust(SSL_CTX* context, const std::string& ca_pem, const std::string& what,
                   bool announce) {
  FL_TRY(const auto authorities, read_certificates(ca_pem, what));
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const X509Ptr& authority : authorities) {
    if (X509_STORE_add_cert(store, authority.get()) != 1) {
      return fail(cat(what, ": ", openssl_error()));
    }
    if (announce) SSL_CTX_add_client_CA(context, authority.get());
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::server(const ServerOptions& options) {
  FL_TRY(const SslContextPtr context, new_context(TLS_server_method()));
  FL_TRY_VOID(use_identity(context.get(), options.certificate_pem, options.key_pem, "server"));
  SSL_CTX_set_options(context.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_alpn_select_cb(context.get(), select_alpn, nullptr);
  if (!options.client_ca_pem.empty()) {
    FL_TRY_VOID(trust(context.get(), options.client_ca_pem, "client CA", true));
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    static constexpr unsigned char session_context[] = "fairlead";
    SSL_CTX_set_session_id_context(context.get(), session_context, sizeof session_context - 1);
  }
  std::shared_ptr<TlsContext> tls(new TlsContext);
  SSL_CTX_up_ref(context.get());
  tls->context_ = context.get();
  return tls;
}

Result<std::shared_ptr<const TlsContext>> TlsContext::client(const ClientOptions& options) {
  FL_TRY(const SslContextPtr context, new_context(TLS_client_method()));
  if (options.ca_pem.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else {
    FL_TRY_VOID(trust(context.get(), options.ca_pem, "CA", false));
  }
  if (options.certificate_pem.empty() != options.key_pem.empty()) {
    return fail("client certificate and client key: expected both or none");
  }
  if (!options.certificate_pem.empty()) {
    FL_TRY_VOID(use_identity(context.get(), options.certificate_pem, options.key_pem, "client"));
  }
  SSL_CTX_set_verify(context.get(),
                     options.insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_set_alpn_protos(context.get(), alpn_http11, alpn_size) != 0) {
    return fail(cat("cannot make a TLS context: ", openssl_error()));
  }
  std::shared_ptr<TlsContext> tls(new TlsContext);
  SSL_CTX_up_ref(context.get());
  tls->context_ = context.get();
  tls->server_name_ = options.server_name;
  return tls;
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

}  // namespace fairlead::net
