// Server-side TLS: one OpenSSL context per worker, the certificate chosen by SNI in the handshake.
#pragma once

#include <array>
#include <memory>

#include "base/result.h"
#include "ingress/certificate.h"
#include "ingress/client_stream.h"
#include "ingress/route_table.h"

struct ssl_ctx_st;

namespace fairlead::ingress {

// Shared by the workers, so that a session begun on one is resumed on another.
using TicketKeys = std::array<unsigned char, 80>;
Result<TicketKeys> make_ticket_keys();

// TLS 1.2 and 1.3, ALPN http/1.1 only, session tickets, no early data, no renegotiation. Belongs to
// one worker.
class TlsAcceptor {
 public:
  static Result<std::unique_ptr<TlsAcceptor>> create(
      const TicketKeys& keys, std::shared_ptr<const Certificate> default_certificate);
  ~TlsAcceptor();

  // Handshakes that begin from now on choose from this table. It must outlive the next call.
  void set_table(const RouteTable* table) { table_ = table; }

  // A session that will accept on `fd`; null when OpenSSL is out of memory.
  SslPtr accept(int fd);

  const Certificate& choose(const char* server_name) const;

 private:
  TlsAcceptor() = default;

  ssl_ctx_st* context_ = nullptr;
  std::shared_ptr<const Certificate> default_certificate_;
  const RouteTable* table_ = nullptr;
};

}  // namespace fairlead::ingress
