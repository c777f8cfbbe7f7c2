#include "net/tls_session.h"

#include <openssl/err.h>
#include <sys/socket.h>

#include <cerrno>
#include <limits>

#include "base/text.h"
#include "net/socket.h"

namespace fairlead::net {
namespace {

using BioMethodPtr = std::unique_ptr<BIO_METHOD, OpensslFree<BIO_meth_free>>;

int bio_fd(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

bool is_retry() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

int bio_write(BIO* bio, const char* data, int size) {
  const ssize_t sent = ::send(bio_fd(bio), data, static_cast<size_t>(size), MSG_NOSIGNAL);
  BIO_clear_retry_flags(bio);
  if (sent < 0 && is_retry()) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int bio_read(BIO* bio, char* data, int size) {
  const ssize_t got = ::recv(bio_fd(bio), data, static_cast<size_t>(size), 0);
  BIO_clear_retry_flags(bio);
  if (got < 0 && is_retry()) BIO_set_retry_read(bio);
  if (got == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(got);
}

long bio_ctrl(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return 0;
}

// OpenSSL's own socket BIO writes with write(2), which raises SIGPIPE when the peer is gone.
BIO* new_socket_bio(int fd) {
  static const BioMethodPtr method = [] {
    BioMethodPtr made(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket"));
    BIO_meth_set_write(made.get(), bio_write);
    BIO_meth_set_read(made.get(), bio_read);
    BIO_meth_set_ctrl(made.get(), bio_ctrl);
    return made;
  }();
  BIO* bio = BIO_new(method.get());
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

// All values of one field of the subject, in order, as UTF-8.
std::vector<std::string> subject_entries(X509* certificate, int nid) {
  std::vector<std::string> values;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, nid, at)) >= 0;) {
    unsigned char* utf8 = nullptr;
    const int size =
        ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size < 0) continue;
    values.emplace_back(reinterpret_cast<char*>(utf8), static_cast<size_t>(size));
    OPENSSL_free(utf8);
  }
  return values;
}

}  // namespace

TlsSession::TlsSession(std::shared_ptr<const TlsContext> context, int fd, bool is_server,
                       const std::string& server_name)
    : context_(std::move(context)), ssl_(SSL_new(context_->native())) {
  if (!ssl_) {
    setup_error_ = openssl_error();
    return;
  }
  BIO* bio = new_socket_bio(fd);
  SSL_set_bio(ssl_.get(), bio, bio);  // takes it
  if (is_server) {
    SSL_set_accept_state(ssl_.get());
    return;
  }
  SSL_set_connect_state(ssl_.get());
  const std::string& name = context_->server_name().empty() ? server_name : context_->server_name();
  const bool verifies = SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE;
  if (name.empty()) {
    if (verifies) setup_error_ = "no server name to verify the certificate against";
  } else if (Ip::parse(name)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), name.c_str());
  } else {
    SSL_set_tlsext_host_name(ssl_.get(), name.c_str());
    SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl_.get(), name.c_str()) != 1) setup_error_ = openssl_error();
  }
}

std::string TlsSession::failure() const {
  const long verify = SSL_get_verify_result(ssl_.get());
  const std::string reason = openssl_error();
  if (verify == X509_V_OK) return cat("TLS: ", reason);
  return cat("TLS: ", reason, ": ", X509_verify_cert_error_string(verify));
}

// SSL_get_error(3) reads this thread's error queue: every operation empties it first.
Io TlsSession::outcome(int result) {
  const int saved_errno = errno;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_NONE:
      return {Io::Status::done, static_cast<size_t>(result), {}};
    case SSL_ERROR_WANT_READ:
      return {Io::Status::want_read, 0, {}};
    case SSL_ERROR_WANT_WRITE:
      return {Io::Status::want_write, 0, {}};
    case SSL_ERROR_ZERO_RETURN:
      return {Io::Status::eof, 0, {}};
    case SSL_ERROR_SYSCALL:
      ERR_clear_error();
      return {Io::Status::failed, 0,
              saved_errno == 0 ? "TLS: the peer closed the connection" : errno_text(saved_errno)};
    default:
      return {Io::Status::failed, 0, failure()};
  }
}

Io TlsSession::handshake() {
  if (!setup_error_.empty()) return {Io::Status::failed, 0, cat("TLS: ", setup_error_)};
  ERR_clear_error();
  errno = 0;
  Io io = outcome(SSL_do_handshake(ssl_.get()));
  io.bytes = 0;
  return io;
}

Io TlsSession::read(char* buffer, size_t size) {
  ERR_clear_error();
  errno = 0;
  return outcome(SSL_read(ssl_.get(), buffer, static_cast<int>(size)));
}

Io TlsSession::write(std::string_view bytes) {
  ERR_clear_error();
  errno = 0;
  const size_t size = std::min<size_t>(bytes.size(), std::numeric_limits<int>::max());
  return outcome(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(size)));
}

void TlsSession::send_close_notify() {
  if (!ssl_ || SSL_in_init(ssl_.get()) != 0) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

bool TlsSession::has_pending() const { return ssl_ && SSL_has_pending(ssl_.get()) != 0; }

// A certificate that was not verified says nothing about the peer.
void TlsSession::describe(Peer& peer) const {
  if (!ssl_ || SSL_get_verify_mode(ssl_.get()) == SSL_VERIFY_NONE) return;
  X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  if (certificate == nullptr || SSL_get_verify_result(ssl_.get()) != X509_V_OK) return;
  const auto names = subject_entries(certificate, NID_commonName);
  if (!names.empty()) peer.certificate_user = names.front();
  peer.certificate_groups = subject_entries(certificate, NID_organizationName);
}

}  // namespace fairlead::net
