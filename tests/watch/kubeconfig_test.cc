#include "watch/kubeconfig.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/text.h"

namespace fairlead::watch {
namespace {

class Kubeconfig : public testing::Test {
 protected:
  Kubeconfig() {
    char name[] = "/tmp/fairlead-kubeconfig-XXXXXX";
    dir_ = ::mkdtemp(name);
    const auto authority =
        net::self_signed({.common_name = "test", .is_authority = true, .days = 2});
    const auto client =
        net::issue({.common_name = "me", .for_client = true, .days = 1}, *authority);
    ca_ = authority->certificate_pem;
    write("ca.crt", ca_);
    write("me.crt", client->certificate_pem);
    write("me.key", client->key_pem);
    write("token", "from-file\n");
  }
  ~Kubeconfig() override { std::filesystem::remove_all(dir_); }

  void write(const std::string& name, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(dir_ + "/" + name).parent_path());
    std::ofstream(dir_ + "/" + name) << text;
  }
  Result<ApiAccess> load(std::string_view text, const std::string& context = {}) {
    write("config", text);
    return load_kubeconfig(dir_ + "/config", context);
  }
  // The message without the folder, which has another name each time.
  std::string error(std::string_view text, const std::string& context = {}) {
    const auto access = load(text, context);
    if (access) return "no error";
    std::string message = access.error().message;
    for (size_t at; (at = message.find(dir_ + "/")) != std::string::npos;) {
      message.erase(at, dir_.size() + 1);
    }
    return message;
  }

  std::string dir_, ca_;
};

std::string config(std::string_view cluster, std::string_view user = "{}") {
  return cat(
      "current-context: c\n"                                // 1
      "contexts:\n"                                         // 2
      "- {name: c, context: {cluster: k, user: u}}\n"       // 3
      "clusters:\n"                                         // 4
      "- {name: other, cluster: {server: http://other}}\n"  // 5
      "- name: k\n"                                         // 6
      "  cluster: ",
      cluster,
      "\n"           // 7
      "users:\n"     // 8
      "- name: u\n"  // 9
      "  user: ",
      user, "\n");  // 10
}

TEST_F(Kubeconfig, ReadsServersOfEveryScheme) {
  const auto http = load(config("{server: 'http://10.0.0.1:8080'}"));
  ASSERT_TRUE(http) << http.error().message;
  EXPECT_EQ(http->target.host, "10.0.0.1");
  EXPECT_EQ(http->target.port, 8080);
  EXPECT_EQ(http->target.tls, nullptr);
  EXPECT_EQ(http->server, "http://10.0.0.1:8080");
  EXPECT_FALSE(http->headers.has("Authorization"));

  const auto unix_socket = load(config("{server: 'unix:///run/api.sock'}"));
  ASSERT_TRUE(unix_socket) << unix_socket.error().message;
  EXPECT_EQ(unix_socket->target.unix_path, "/run/api.sock");

  const auto https =
      load(config("{server: 'https://[fd00::1]:6443', certificate-authority: ca.crt}"));
  ASSERT_TRUE(https) << https.error().message;
  EXPECT_EQ(https->target.host, "fd00::1");
  ASSERT_NE(https->target.tls, nullptr);
  EXPECT_EQ(https->target.tls->server_name(), "fd00::1");
}

TEST_F(Kubeconfig, ReadsCertificatesInlineAndFromFiles) {
  const std::string inline_ca =
      cat("{server: 'https://api.example', certificate-authority-data: ", base64_encode(ca_),
          ", tls-server-name: kubernetes}");
  const auto access =
      load(config(inline_ca, "{client-certificate: me.crt, client-key: " + dir_ + "/me.key}"));
  ASSERT_TRUE(access) << access.error().message;
  EXPECT_EQ(access->target.port, 443);
  EXPECT_EQ(access->target.tls->server_name(), "kubernetes");
}

TEST_F(Kubeconfig, ReadsCredentials) {
  const std::string_view cases[][2] = {
      {"{}", ""},
      {"{token: secret}", "Bearer secret"},
      {"{tokenFile: token}", "Bearer from-file"},
      {"{token: secret, tokenFile: token}", "Bearer from-file"},
      {"{username: me, password: pw}", "Basic bWU6cHc="},
  };
  for (const auto& [user, expected] : cases) {
    const auto access = load(config("{server: 'http://a'}", user));
    ASSERT_TRUE(access) << access.error().message;
    EXPECT_EQ(access->headers.get("Authorization"), expected) << user;
  }
  EXPECT_EQ(load(config("{server: 'http://a'}", "{tokenFile: token}"))->token_file,
            dir_ + "/token");
}

TEST_F(Kubeconfig, TakesTheContextThatIsAskedFor) {
  const std::string_view text =
      "current-context: a\n"
      "contexts:\n"
      "- {name: a, context: {cluster: ka}}\n"
      "- {name: b, context: {cluster: kb}}\n"
      "clusters:\n"
      "- {name: ka, cluster: {server: 'http://a:1'}}\n"
      "- {name: kb, cluster: {server: 'http://b:2'}}\n";
  EXPECT_EQ(load(text)->target.host, "a");
  EXPECT_EQ(load(text, "b")->target.host, "b");
  EXPECT_EQ(error(text, "c"), "config:2: contexts: no entry is named 'c'");
}

TEST_F(Kubeconfig, ErrorsNameFileLineAndField) {
  struct Case {
    std::string text;
    std::string_view expected;
  };
  const Case cases[] = {
      {"", "config: expected one YAML map"},
      {"- 1\n", "config: expected one YAML map"},
      {"a: 1\na: 2\n", "config:2: duplicate key 'a'"},
      {"a: [\n", "config:2: end of sequence flow not found"},
      {"{}", "config:1: current-context: missing"},
      {"current-context: 1\n", "config:1: current-context: expected a string"},
      {"current-context: a\n", "config:1: contexts: expected a list of contexts"},
      {"current-context: a\ncontexts: []\n", "config:2: contexts: no entry is named 'a'"},
      {"current-context: a\ncontexts:\n- name: a\n",
       "config:3: contexts[0].context: expected a map"},
      {"current-context: a\ncontexts:\n- name: a\n  context:\n    user: u\n",
       "config:4: contexts[0].context.cluster: missing"},
      {"current-context: a\ncontexts:\n- name: a\n  context: {cluster: x}\nclusters: []\n",
       "config:5: clusters: no entry is named 'x'"},
      {config("{}"), "config:7: clusters[1].cluster.server: missing"},
      {config("{server: [a]}"), "config:7: clusters[1].cluster.server: expected a string"},
      {config("{server: 'http://a', proxy-url: 'http://p'}"),
       "config:7: clusters[1].cluster.proxy-url: not supported"},
      {config("{server: 'http://a', certificate-authority: none.crt}"),
       "config:7: clusters[1].cluster.certificate-authority: none.crt: cannot be read: No such "
       "file or directory"},
      {config("{server: 'http://a', certificate-authority-data: '***'}"),
       "config:7: clusters[1].cluster.certificate-authority-data: is not base64"},
      {config("{server: 'http://a', insecure-skip-tls-verify: 'yes'}"),
       "config:7: clusters[1].cluster.insecure-skip-tls-verify: expected true or false"},
      {config("{server: 'http://a'}", "{exec: {command: x}}"),
       "config:10: users[0].user.exec: not supported; use a token or a client certificate"},
      {config("{server: 'http://a'}", "{auth-provider: {name: gcp}}"),
       "config:10: users[0].user.auth-provider: not supported; use a token or a client "
       "certificate"},
      {config("{server: 'http://a'}", "{client-certificate: me.crt}"),
       "config:10: users[0].user: client-certificate and client-key need each other"},
      {config("{server: 'http://a'}", "{tokenFile: none}"),
       "config:10: users[0].user.tokenFile: none: cannot be read: No such file or directory"},
      {config("{server: 'http://a'}", "{token: [x]}"),
       "config:10: users[0].user.token: expected a string"},
  };
  for (const Case& c : cases) EXPECT_EQ(error(c.text), c.expected) << c.text;
  EXPECT_EQ(load_kubeconfig(dir_ + "/absent").error().message,
            dir_ + "/absent: cannot be read: No such file or directory");
}

TEST_F(Kubeconfig, RefusesServersAndCertificatesThatAreNone) {
  for (const std::string_view cluster :
       {"{server: 'ftp://a'}", "{server: '10.0.0.1:6443'}", "{server: 'https://a/prefix/x'}",
        "{server: 'https://a', certificate-authority-data: bm8gY2VydA==}"}) {
    EXPECT_TRUE(error(config(cluster)).starts_with("config:7: clusters[1].cluster.server: "))
        << error(config(cluster));
  }
}

TEST_F(Kubeconfig, ReadsTheServiceAccountOfAPod) {
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  ::unsetenv("KUBERNETES_SERVICE_PORT");
  EXPECT_EQ(in_cluster(dir_).error().message,
            "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set");
  ::setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
  ::setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  const std::string folder = "var/run/secrets/kubernetes.io/serviceaccount/";
  EXPECT_EQ(in_cluster(dir_).error().message,
            dir_ + "/" + folder + "token: cannot be read: No such file or directory");
  write(folder + "token", "pod-token\n");
  EXPECT_EQ(in_cluster(dir_).error().message,
            dir_ + "/" + folder + "ca.crt: cannot be read: No such file or directory");
  write(folder + "ca.crt", ca_);
  const auto access = in_cluster(dir_);
  ASSERT_TRUE(access) << access.error().message;
  EXPECT_EQ(access->server, "https://10.96.0.1:443");
  EXPECT_EQ(access->headers.get("Authorization"), "Bearer pod-token");
  EXPECT_EQ(access->token_file, dir_ + "/" + folder + "token");
  EXPECT_NE(access->target.tls, nullptr);
  ::setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
  EXPECT_EQ(in_cluster(dir_)->server, "https://[fd00::1]:443");
}

}  // namespace
}  // namespace fairlead::watch
