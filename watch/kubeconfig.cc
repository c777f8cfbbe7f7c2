#include "watch/kubeconfig.h"

#include <cstdlib>

#include "api/yaml.h"
#include "base/file.h"
#include "base/text.h"

namespace fairlead::watch {
namespace {

// A map somewhere in the kubeconfig: reads fields, and says file:line when one is wrong.
class Section {
 public:
  Section(const std::string& file, const api::YamlDocument& document, const json::value* value,
          std::string path)
      : file_(&file), document_(&document), value_(value), path_(std::move(path)) {}

  std::unexpected<Error> wrong(std::string_view field, std::string_view problem) const {
    const std::string at = field.empty() ? path_ : cat(path_, path_.empty() ? "" : ".", field);
    return fail(
        cat(*file_, ':', document_->line_of(at), ": ", at, at.empty() ? "" : ": ", problem));
  }
  bool has(std::string_view field) const {
    const json::value* member = get(field);
    return member != nullptr && !member->is_null();
  }
  Result<std::string> string(std::string_view field) const {
    if (!has(field)) return std::string();
    if (!get(field)->is_string()) return wrong(field, "expected a string");
    return std::string(get(field)->get_string());
  }
  Result<bool> boolean(std::string_view field) const {
    if (!has(field)) return false;
    if (!get(field)->is_bool()) return wrong(field, "expected true or false");
    return get(field)->get_bool();
  }
  // The entry of a list of {name: ..., <what>: {...}}.
  Result<Section> named(std::string_view list, std::string_view name, std::string_view what) const {
    if (!has(list) || !get(list)->is_array()) {
      return wrong(list, cat("expected a list of ", list));
    }
    const json::array& entries = get(list)->get_array();
    for (size_t i = 0; i < entries.size(); ++i) {
      if (find_string(entries[i], "name") != name) continue;
      Section entry(*file_, *document_, &entries[i], cat(list, '[', i, ']'));
      const json::value* body = entry.get(what);
      if (body == nullptr || !body->is_object()) return entry.wrong(what, "expected a map");
      return Section(*file_, *document_, body, cat(list, '[', i, "].", what));
    }
    return wrong(list, cat("no entry is named '", name, '\''));
  }
  // FIELD-data (base64), or the text of the file that FIELD names, relative to the kubeconfig.
  Result<std::string> material(std::string_view field) const {
    const std::string inline_field = cat(field, "-data");
    FL_TRY(const std::string encoded, string(inline_field));
    if (!encoded.empty()) {
      auto bytes = base64_decode(encoded);
      if (!bytes) return wrong(inline_field, "is not base64");
      return *std::move(bytes);
    }
    FL_TRY(const std::string path, file(field));
    if (path.empty()) return std::string();
    auto text = read_file(path);
    if (!text) return wrong(field, text.error().message);
    return text;
  }
  Result<std::string> file(std::string_view field) const {
    FL_TRY(std::string path, string(field));
    if (path.empty() || path.starts_with('/')) return path;
    const size_t slash = file_->rfind('/');
    return slash == std::string::npos ? path : cat(file_->substr(0, slash + 1), path);
  }

 private:
  const json::value* get(std::string_view field) const { return find(*value_, field); }

  const std::string* file_;
  const api::YamlDocument* document_;
  const json::value* value_;
  std::string path_;
};

// Methods that run programs or need a library of a cloud are named rather than skipped: a request
// without credentials would fail later, with a worse message.
Result<void> read_user(const Section& user, ApiAccess& access,
                       net::TlsContext::ClientOptions& tls) {
  for (const std::string_view method :
       {"exec", "auth-provider", "as", "as-uid", "as-groups", "as-user-extra"}) {
    if (user.has(method)) {
      return user.wrong(method, "not supported; use a token or a client certificate");
    }
  }
  FL_TRY(tls.certificate_pem, user.material("client-certificate"));
  FL_TRY(tls.key_pem, user.material("client-key"));
  if (tls.certificate_pem.empty() != tls.key_pem.empty()) {
    return user.wrong("", "client-certificate and client-key need each other");
  }
  FL_TRY(const std::string token, user.string("token"));
  FL_TRY(access.token_file, user.file("tokenFile"));
  FL_TRY(const std::string name, user.string("username"));
  FL_TRY(const std::string password, user.string("password"));
  if (!access.token_file.empty()) {
    // As client-go: the file wins over the token.
    auto text = read_file(access.token_file);
    if (!text) return user.wrong("tokenFile", text.error().message);
    access.headers.add("Authorization", cat("Bearer ", trim(*text)));
  } else if (!token.empty()) {
    access.headers.add("Authorization", cat("Bearer ", trim(token)));
  } else if (!name.empty()) {
    access.headers.add("Authorization", cat("Basic ", base64_encode(cat(name, ':', password))));
  }
  return {};
}

// Only https has certificates to verify; http and unix sockets ignore the TLS settings, as kubectl
// does.
Result<net::HttpTarget> make_target(const std::string& server, net::TlsContext::ClientOptions tls) {
  if (!server.starts_with("https://")) return net::HttpTarget::parse(server, nullptr);
  if (tls.server_name.empty()) {
    // The certificate must be for the name that is dialled.
    FL_TRY(const auto plain, net::HttpTarget::parse(cat("http://", server.substr(8)), nullptr));
    tls.server_name = plain.host;
  }
  FL_TRY(auto context, net::TlsContext::client(tls));
  return net::HttpTarget::parse(server, std::move(context));
}

Result<void> read_cluster(const Section& cluster, ApiAccess& access,
                          net::TlsContext::ClientOptions& tls) {
  if (cluster.has("proxy-url")) return cluster.wrong("proxy-url", "not supported");
  FL_TRY(access.server, cluster.string("server"));
  if (access.server.empty()) return cluster.wrong("server", "missing");
  FL_TRY(tls.ca_pem, cluster.material("certificate-authority"));
  FL_TRY(tls.insecure_skip_verify, cluster.boolean("insecure-skip-tls-verify"));
  FL_TRY(tls.server_name, cluster.string("tls-server-name"));
  return {};
}

}  // namespace

// context -> cluster and user, as "kubectl config view" shows them.
Result<ApiAccess> load_kubeconfig(const std::string& path, const std::string& context) {
  FL_TRY(const std::string text, read_file(path));
  FL_TRY(const auto documents, api::parse_yaml(text, path));
  if (documents.size() != 1 || !documents[0].value.is_object()) {
    return fail(cat(path, ": expected one YAML map"));
  }
  const Section root(path, documents[0], &documents[0].value, "");
  std::string name = context;
  if (name.empty()) {
    FL_TRY(name, root.string("current-context"));
    if (name.empty()) return root.wrong("current-context", "missing");
  }
  FL_TRY(const Section entry, root.named("contexts", name, "context"));
  FL_TRY(const std::string cluster_name, entry.string("cluster"));
  if (cluster_name.empty()) return entry.wrong("cluster", "missing");
  FL_TRY(const Section cluster, root.named("clusters", cluster_name, "cluster"));

  ApiAccess access;
  net::TlsContext::ClientOptions tls;
  FL_TRY_VOID(read_cluster(cluster, access, tls));
  FL_TRY(const std::string user_name, entry.string("user"));
  if (!user_name.empty()) {
    FL_TRY(const Section user, root.named("users", user_name, "user"));
    FL_TRY_VOID(read_user(user, access, tls));
  }
  auto target = make_target(access.server, std::move(tls));
  if (!target) return cluster.wrong("server", target.error().message);
  access.target = *std::move(target);
  return access;
}

// Kubernetes docs, "Accessing the API from a Pod": two variables and a mounted folder.
Result<ApiAccess> in_cluster(const std::string& root) {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr || *host == '\0' || *port == '\0') {
    return fail(
        "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set");
  }
  const std::string folder = cat(root, "/var/run/secrets/kubernetes.io/serviceaccount/");
  ApiAccess access;
  access.token_file = cat(folder, "token");
  FL_TRY(const std::string token, read_file(access.token_file));
  net::TlsContext::ClientOptions tls;
  FL_TRY(tls.ca_pem, read_file(cat(folder, "ca.crt")));
  access.headers.add("Authorization", cat("Bearer ", trim(token)));
  const bool v6 = std::string_view(host).find(':') != std::string_view::npos;
  access.server = cat("https://", v6 ? "[" : "", host, v6 ? "]:" : ":", port);
  FL_TRY(access.target, make_target(access.server, std::move(tls)));
  return access;
}

}  // namespace fairlead::watch
