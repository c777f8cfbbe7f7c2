#include "ingress/tls_acceptor.h"

#include <openssl/rand.h>
#include <openssl/ssl.h>

namespace fairlead::ingress {
namespace {

int choose_certificate(SSL* session, void* acceptor) {
  const char* name = SSL_get_servername(session, TLSEXT_NAMETYPE_host_name);
  return static_cast<TlsAcceptor*>(acceptor)->choose(name).use(session) ? 1 : 0;
}

constexpr unsigned char http11[] = "\x08http/1.1";  // OpenSSL keeps a pointer into it

// A client that offers protocols and not this one goes on without ALPN, as with nginx.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                    const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* out = nullptr;
  if (SSL_select_next_proto(&out, chosen_size, http11, sizeof http11 - 1, offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *chosen = out;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

Result<TicketKeys> make_ticket_keys() {
  TicketKeys keys;
  if (RAND_bytes(keys.data(), static_cast<int>(keys.size())) != 1) {
    return fail("TLS session ticket keys: the random generator failed");
  }
  return keys;
}

Result<std::unique_ptr<TlsAcceptor>> TlsAcceptor::create(
    const TicketKeys& keys, std::shared_ptr<const Certificate> default_certificate) {
  auto acceptor = std::unique_ptr<TlsAcceptor>(new TlsAcceptor);
  acceptor->default_certificate_ = std::move(default_certificate);
  SSL_CTX* context = acceptor->context_ = SSL_CTX_new(TLS_server_method());
  TicketKeys copy = keys;
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_tlsext_ticket_keys(context, copy.data(), copy.size()) != 1) {
    return fail("TLS: OpenSSL did not make a server context");
  }
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  // tickets carry the state
  SSL_CTX_set_num_tickets(context, 1);
  SSL_CTX_set_max_early_data(context, 0);
  SSL_CTX_set_cert_cb(context, choose_certificate, acceptor.get());
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
  return acceptor;
}

TlsAcceptor::~TlsAcceptor() { SSL_CTX_free(context_); }

SslPtr TlsAcceptor::accept(int fd) {
  SslPtr session(SSL_new(context_));
  if (session == nullptr || SSL_set_fd(session.get(), fd) != 1) return nullptr;
  SSL_set_accept_state(session.get());
  return session;
}

const Certificate& TlsAcceptor::choose(const char* server_name) const {
  const Certificate* found = nullptr;
  if (table_ != nullptr && server_name != nullptr) found = table_->certificate(server_name);
  return found == nullptr ? *default_certificate_ : *found;
}

}  // namespace fairlead::ingress
