// The control plane's keys: an authority made once, and certificates issued from it.
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "net/tls.h"

namespace fairlead::controlplane {

struct Pki {
  net::CertificatePair authority;
  net::CertificatePair server;
  net::CertificatePair admin;  // CN kubernetes-admin, O system:masters
};

struct PkiRequest {
  std::string folder;                  // made with mode 0700
  std::vector<std::string> dns_names;  // of the server certificate
  std::vector<Ip> ips;
};

// The authority is read from folder/ca.crt and ca.key, or made when neither exists; one without
// the other, or one that cannot be read, is an error: a new authority would lock every client out.
// The server's and the admin's certificate are issued anew each time, so that they follow the
// settings and never run out. Files are written whole, with mode 0600 (*.crt 0644).
Result<Pki> open_pki(const PkiRequest& request);

// A kubeconfig with everything embedded, for https://`server`.
std::string kubeconfig_text(const Pki& pki, const SocketAddress& server);

// Whole or not at all: a temporary file in the same folder, then a rename.
Result<void> write_private_file(const std::string& path, std::string_view text, int mode);

}  // namespace fairlead::controlplane
