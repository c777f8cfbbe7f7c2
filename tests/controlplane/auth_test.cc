// Who may do what, and the keys that say who is who.
#include "controlplane/auth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "controlplane/pki.h"
#include "net/tls.h"
#include "store_support.h"

namespace fairlead::controlplane {
namespace {

using testing::HasSubstr;

constexpr uid_t kOwnUid = 1000;

struct Caller {
  const char* what;
  std::optional<uint32_t> uid;
  std::string user;
  std::vector<std::string> groups;
  std::string authorization;
};

struct AccessCase {
  const char* what;
  Caller caller;
  std::string method, path;
  int code;  // 200: allowed
  std::string message;
};

const Caller kRoot{"root", 0, "", {}, ""};
const Caller kSelf{"self", kOwnUid, "", {}, ""};
const Caller kStranger{"stranger", 4711, "", {}, ""};
const Caller kAdmin{"admin", {}, "kubernetes-admin", {"system:masters"}, ""};
const Caller kBob{"bob", {}, "bob", {"dev"}, ""};
const Caller kNobody{"nobody", {}, "", {}, ""};
const Caller kToken{"token", {}, "", {}, "Bearer x"};

const AccessCase kAccessCases[] = {
    {"a", kRoot, "GET", "/api/v1/pods", 200, ""},
    {"b", kSelf, "DELETE", "/api/v1/nodes/n1", 200, ""},
    {"c", kStranger, "GET", "/api/v1/nodes", 403,
     R"(nodes is forbidden: User "unix:4711" cannot list resource "nodes" in API group "" at the cluster scope)"},
    {"d", kAdmin, "POST", "/api/v1/namespaces/d/pods", 200, ""},
    {"e", kBob, "GET", "/api/v1/namespaces/default/pods", 403,
     R"(pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default")"},
    {"f", kBob, "PUT", "/apis/networking.k8s.io/v1/namespaces/d/ingresses/i/status", 403,
     R"(ingresses.networking.k8s.io "i" is forbidden: User "bob" cannot update resource "ingresses/status" in API group "networking.k8s.io" in the namespace "d")"},
    {"g", kNobody, "GET", "/api/v1/pods", 403, "system:anonymous"},
    {"h", kNobody, "GET", "/version", 200, ""},
    {"i", kNobody, "GET", "/healthz", 200, ""},
    {"j", kNobody, "GET", "/livez", 200, ""},
    {"k", kNobody, "GET", "/readyz/store", 200, ""},
    {"l", kNobody, "POST", "/version", 403, ""},
    {"m", kNobody, "GET", "/versions", 403, R"(cannot get path "/versions")"},
    {"n", kNobody, "GET", "/metrics", 403, ""},
    {"o", kNobody, "GET", "/api", 403, ""},
    {"p", kNobody, "GET", "/healthz/../api/v1/secrets", 200, ""},  // a path of health, no more
    {"q", kToken, "GET", "/version", 401, "Unauthorized"},
    {"r", kToken, "GET", "/api/v1/pods", 401, "Unauthorized"},
    {"s", kBob, "GET", "/openapi/v2", 403, ""},
    {"t", kAdmin, "GET", "/metrics", 200, ""},
};

TEST(AuthTest, DecidesByCallerAndPath) {
  ResourceTable table;
  for (const AccessCase& c : kAccessCases) {
    SCOPED_TRACE(cat(c.what, ": ", c.caller.what, " ", c.method, " ", c.path));
    net::HttpRequest request{.method = c.method, .target = c.path};
    request.peer.uid = c.caller.uid;
    request.peer.certificate_user = c.caller.user;
    request.peer.certificate_groups = c.caller.groups;
    if (!c.caller.authorization.empty())
      request.headers.add("Authorization", c.caller.authorization);
    Outcome<User> user = authenticate(request, kOwnUid);
    if (!user) {
      EXPECT_EQ(user.error().code, c.code);
      EXPECT_EQ(user.error().message, c.message);
      continue;
    }
    auto route = parse_route(table, request.method, request.path(), Query(""));
    const Route* resource = route && *route ? &**route : nullptr;
    auto allowed = authorize(*user, resource, request.method, request.path());
    EXPECT_EQ(allowed ? 200 : allowed.error().code, c.code);
    if (!allowed) {
      EXPECT_THAT(allowed.error().message, HasSubstr(c.message));
    }
  }
}

std::string read(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

mode_t mode_of(const std::string& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

TEST(AuthPkiTest, MakesTheAuthorityOnceAndLeavesEachTime) {
  TempDir dir;
  PkiRequest request{dir / "pki", {"localhost"}, {Ip::v4(0x7f000001)}};
  Result<Pki> first = open_pki(request);
  ASSERT_TRUE(first) << first.error().message;
  Result<Pki> second = open_pki(request);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(first->authority.certificate_pem, second->authority.certificate_pem);
  EXPECT_EQ(first->authority.key_pem, second->authority.key_pem);
  EXPECT_NE(first->server.certificate_pem, second->server.certificate_pem);
  EXPECT_EQ(mode_of(dir / "pki"), 0700U);
  for (const char* name : {"ca", "server", "admin"}) {
    EXPECT_EQ(mode_of(dir / cat("pki/", name, ".key")), 0600U);
    EXPECT_EQ(mode_of(dir / cat("pki/", name, ".crt")), 0644U);
  }
  EXPECT_EQ(read(dir / "pki/server.crt"), second->server.certificate_pem);
  EXPECT_TRUE(net::TlsContext::server({.certificate_pem = second->server.certificate_pem,
                                       .key_pem = second->server.key_pem,
                                       .client_ca_pem = second->authority.certificate_pem}));
}

TEST(AuthPkiTest, RefusesHalfAnAuthorityAndABrokenOne) {
  TempDir dir;
  PkiRequest request{dir / "pki", {"localhost"}, {}};
  ASSERT_TRUE(open_pki(request));
  std::string key = read(dir / "pki/ca.key");
  ::unlink((dir / "pki/ca.key").c_str());
  Result<Pki> half = open_pki(request);
  ASSERT_FALSE(half);
  EXPECT_THAT(half.error().message, HasSubstr("only one exists"));
  std::ofstream(dir / "pki/ca.key") << "not a key";
  Result<Pki> broken = open_pki(request);
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().message, HasSubstr("pki/ca.crt, ca.key"));
  std::ofstream(dir / "pki/ca.key") << key;
  EXPECT_TRUE(open_pki(request));
}

TEST(AuthPkiTest, SaysWhichFolderItCannotUse) {
  Result<Pki> pki = open_pki({"/proc/nowhere/pki", {}, {}});
  ASSERT_FALSE(pki);
  EXPECT_THAT(pki.error().message, HasSubstr("/proc/nowhere/pki"));
}

TEST(AuthPkiTest, TheKubeconfigEmbedsEverything) {
  Pki pki{{"CA", "x"}, {"S", "y"}, {"ADMIN", "KEY"}};
  std::string text = kubeconfig_text(pki, {*Ip::parse("fd00::1"), 6443});
  for (const std::string& part :
       {std::string("server: https://[fd00::1]:6443"),
        "certificate-authority-data: " + base64_encode("CA"),
        "client-certificate-data: " + base64_encode("ADMIN"),
        "client-key-data: " + base64_encode("KEY"), std::string("current-context: fairlead")})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(AuthPkiTest, PrivateFilesAreReplacedWholeAndKeepTheirMode) {
  TempDir dir;
  std::string path = dir / "kubeconfig";
  ASSERT_TRUE(write_private_file(path, "one", 0600));
  ASSERT_TRUE(write_private_file(path, "two", 0600));
  EXPECT_EQ(read(path), "two");
  EXPECT_EQ(mode_of(path), 0600U);
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
  EXPECT_FALSE(write_private_file(dir / "missing/file", "x", 0600));
}

}  // namespace
}  // namespace fairlead::controlplane
