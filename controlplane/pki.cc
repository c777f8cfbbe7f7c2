#include "controlplane/pki.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "net/fd.h"

namespace fairlead::controlplane {
namespace {

constexpr int kAuthorityDays = 3650;
constexpr int kLeafDays = 365;

std::unexpected<Error> file_trouble(std::string_view doing, const std::string& path) {
  return fail(cat(doing, " ", path, ": ", std::strerror(errno)));
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return file_trouble("read", path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

Result<net::CertificatePair> open_authority(const std::string& folder) {
  std::string certificate = folder + "/ca.crt", key = folder + "/ca.key";
  if (exists(certificate) != exists(key))
    return fail(cat(folder,
                    ": of ca.crt and ca.key only one exists; restore the other, or remove "
                    "both to make a new authority"));
  if (exists(key)) {
    FL_TRY(std::string certificate_pem, read_file(certificate));
    FL_TRY(std::string key_pem, read_file(key));
    return net::CertificatePair{certificate_pem, key_pem};
  }
  FL_TRY(net::CertificatePair made,
         net::self_signed(
             {.common_name = "fairlead-ca", .is_authority = true, .days = kAuthorityDays}));
  // The certificate last: its presence says that the key is complete.
  FL_TRY_VOID(write_private_file(key, made.key_pem, 0600));
  FL_TRY_VOID(write_private_file(certificate, made.certificate_pem, 0644));
  return made;
}

}  // namespace

Result<void> write_private_file(const std::string& path, std::string_view text, int mode) {
  std::string temporary = path + ".new";
  ::unlink(temporary.c_str());
  net::Fd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file) return file_trouble("write", temporary);
  while (!text.empty()) {
    ssize_t wrote = ::write(file.get(), text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return file_trouble("write", temporary);
    text.remove_prefix(static_cast<size_t>(wrote));
  }
  if (::fsync(file.get()) != 0) return file_trouble("write", temporary);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return file_trouble("write", path);
  return {};
}

Result<Pki> open_pki(const PkiRequest& request) {
  if (::mkdir(request.folder.c_str(), 0700) != 0 && errno != EEXIST)
    return file_trouble("make folder", request.folder);
  Pki pki;
  FL_TRY(pki.authority, open_authority(request.folder));
  auto issued = [&](const net::CertificateRequest& wanted,
                    std::string_view name) -> Result<net::CertificatePair> {
    Result<net::CertificatePair> pair = net::issue(wanted, pki.authority);
    if (!pair) return fail(request.folder + "/ca.crt, ca.key", pair.error());
    std::string path = cat(request.folder, "/", name);
    FL_TRY_VOID(write_private_file(path + ".key", pair->key_pem, 0600));
    FL_TRY_VOID(write_private_file(path + ".crt", pair->certificate_pem, 0644));
    return pair;
  };
  FL_TRY(pki.server, issued({.common_name = "fairlead-apiserver",
                             .dns_names = request.dns_names,
                             .ips = request.ips,
                             .days = kLeafDays},
                            "server"));
  FL_TRY(pki.admin, issued({.common_name = "kubernetes-admin",
                            .organizations = {"system:masters"},
                            .for_client = true,
                            .days = kLeafDays},
                           "admin"));
  return pki;
}

std::string kubeconfig_text(const Pki& pki, const SocketAddress& server) {
  return cat(
      "apiVersion: v1\nkind: Config\ncurrent-context: fairlead\nclusters:\n- name: fairlead\n"
      "  cluster:\n    server: https://",
      server.to_string(),
      "\n    certificate-authority-data: ", base64_encode(pki.authority.certificate_pem),
      "\nusers:\n- name: kubernetes-admin\n  user:\n    client-certificate-data: ",
      base64_encode(pki.admin.certificate_pem),
      "\n    client-key-data: ", base64_encode(pki.admin.key_pem),
      "\ncontexts:\n- name: fairlead\n  context:\n    cluster: fairlead\n"
      "    user: kubernetes-admin\n");
}

}  // namespace fairlead::controlplane
