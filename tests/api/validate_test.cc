#include "api/validate.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "api/manifest_files.h"
#include "api/names.h"

namespace fairlead::api {
namespace {

class Validate : public testing::Test {
 protected:
  Manifests read(std::string_view text) {
    Manifests out;
    read_manifests(text, "f.yaml", schema_, out);
    return out;
  }
  static std::string lines(const std::vector<Problem>& problems) {
    std::string out;
    for (const Problem& problem : problems) out += problem.to_string() + "\n";
    return out;
  }
  std::string problems(std::string_view text) { return lines(read(text).problems); }
  std::string semantic(std::string_view text) {
    const Manifests manifests = read(text);
    EXPECT_EQ(lines(manifests.problems), "") << text;
    return lines(semantic_problems(manifests));
  }

  Schema schema_ = *Schema::load();
};

TEST_F(Validate, AcceptsGoodManifestsOfEveryKind) {
  const Manifests manifests = read(R"(
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  ports: [{port: 80, targetPort: http}]
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: shop}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: c, namespace: shop}
  data: {a: "1"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}
)");
  EXPECT_EQ(lines(manifests.problems), "");
  EXPECT_TRUE(manifests.ok());
  ASSERT_EQ(manifests.objects.size(), 3u);
  EXPECT_EQ(manifests.other_kinds, 1u);
  EXPECT_EQ(manifests.objects[0].line, 2);
  EXPECT_EQ(meta_of(manifests.objects[1].object).key.name, "shop");
  EXPECT_EQ(manifests.objects[2].line, 14);
}

TEST_F(Validate, SaysFileLineObjectAndField) {
  const std::string_view cases[][2] = {
      {"a: [\n", "f.yaml:2: end of sequence flow not found\n"},
      {"- 1\n", "f.yaml:1: expected an object\n"},
      {"kind: Service\n", "f.yaml:1: Service: apiVersion: missing\n"},
      {"apiVersion: v1\nmetadata: {name: a}\n", "f.yaml:1: kind: missing\n"},
      {"apiVersion: v1\nkind: Sevice\nmetadata: {name: a}\n",
       "f.yaml:2: Sevice a: kind: no kind 'Sevice' in version 'v1'\n"},
      {"apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  ports:\n  - port: 70000\n",
       "f.yaml:7: Service default/web: spec.ports[0].port: 70000 is not in 1..65535\n"},
      {"apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: ns\nspec:\n  ports:\n"
       "  - port: 80\n    tragetPort: 8080\n",
       "f.yaml:9: Service ns/web: unknown field \"spec.ports[0].tragetPort\"\n"},
      {"apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  selector:\n    on: x\n"
       "    a: yes\n",
       "f.yaml:8: Service default/web: spec.selector[a]: expected a string, found a boolean\n"},
      {"apiVersion: v1\nkind: Service\nmetadata: {}\n",
       "f.yaml:3: Service: metadata.name: missing\n"},
      {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n"
       "  spec:\n    containers: 1\n",
       "f.yaml:8: Pod default/a: spec.containers: expected a list, found an integer\n"},
      {"apiVersion: v1\nkind: List\nitems: {}\n", "f.yaml:3: List: items: expected a list\n"},
      {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replica: 1}\n",
       "f.yaml:4: Deployment d: unknown field \"spec.replica\"\n"
       "f.yaml:4: Deployment d: spec.selector: missing\n"
       "f.yaml:4: Deployment d: spec.template: missing\n"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(problems(text), expected) << text;
}

TEST_F(Validate, KeepsTheGoodObjectsOfAFileWithABadOne) {
  const Manifests manifests = read(
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n"
      "apiVersion: v1\nkind: Namespace\nmetadata: {nam: b}\n---\n"
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: c}\n");
  EXPECT_EQ(manifests.objects.size(), 2u);
  EXPECT_EQ(lines(manifests.problems),
            "f.yaml:7: Namespace: unknown field \"metadata.nam\"\n"
            "f.yaml:7: Namespace: metadata.name: missing\n");
  EXPECT_FALSE(manifests.ok());
}

std::string service(std::string_view name, std::string_view spec) {
  return "apiVersion: v1\nkind: Service\nmetadata: {name: " + std::string(name) +
         "}\nspec: " + std::string(spec) + "\n";
}

TEST_F(Validate, ChecksServices) {
  const std::string_view cases[][2] = {
      {"{ports: [{port: 80}]}", ""},
      {"{clusterIP: None}", ""},
      {"{type: ExternalName, externalName: db.example.}", ""},
      {"{}", "spec.ports: expected at least one port"},
      {"{type: ExternalName, externalName: 10.0.0.1}",
       "warning: Service default/web: spec.externalName: an IP address is taken as a name, which "
       "no "
       "DNS server knows"},
      {"{type: ExternalName, externalName: a_b}",
       "spec.externalName: 'a_b' is not a DNS name: labels of a-z, 0-9 and '-' joined by '.'"},
      {"{ports: [{name: a, port: 80}, {port: 81}]}",
       "spec.ports[1].name: missing; with several ports each needs one"},
      {"{ports: [{name: a, port: 80}, {name: a, port: 81}]}",
       "spec.ports[1].name: 'a' is used twice"},
      {"{ports: [{name: a, port: 80}, {name: b, port: 80}]}",
       "spec.ports[1].port: TCP 80 is used twice"},
      {"{ports: [{name: a, port: 80}, {name: b, port: 80, protocol: UDP}]}", ""},
      {"{ports: [{port: 80, nodePort: 30000}]}",
       "spec.ports[0].nodePort: not with this type of Service"},
      {"{type: NodePort, ports: [{name: a, port: 80, nodePort: 30000}, "
       "{name: b, port: 81, nodePort: 30000}]}",
       "spec.ports[1].nodePort: 30000 is used twice"},
      {"{type: NodePort, ports: [{port: 80, nodePort: 80}]}",
       "warning: Service default/web: spec.ports[0].nodePort: 80 is outside the usual 30000-32767"},
  };
  for (const auto& [spec, expected] : cases) {
    std::string want(expected);
    if (!want.empty() && !want.starts_with("warning")) want = "Service default/web: " + want;
    if (!want.empty()) want = "f.yaml:1: " + want + "\n";
    EXPECT_EQ(semantic(service("web", spec)), want) << spec;
  }
  EXPECT_NE(semantic(service("1web", "{clusterIP: None}")).find("metadata.name: '1web' is not"),
            std::string::npos);
}

TEST_F(Validate, ChecksIngressesAgainstTheirServicesAndSecrets) {
  const std::string head =
      service("web", "{ports: [{name: http, port: 80}]}") +
      "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec: ";
  const std::string_view cases[][2] = {
      {"{defaultBackend: {service: {name: web, port: {number: 80}}}}", ""},
      {"{defaultBackend: {service: {name: web, port: {name: http}}}}", ""},
      {"{}", "spec: expected rules or a defaultBackend"},
      {"{defaultBackend: {service: {name: wbe, port: {number: 80}}}}",
       "warning: spec.defaultBackend.service: no Service default/wbe is in these files"},
      {"{defaultBackend: {service: {name: web, port: {number: 81}}}}",
       "warning: spec.defaultBackend.service.port: Service default/web has no port 81"},
      {"{defaultBackend: {service: {name: web, port: {name: https}}}}",
       "warning: spec.defaultBackend.service.port: Service default/web has no port https"},
      {"{defaultBackend: {resource: {kind: B, name: b}}}",
       "warning: spec.defaultBackend: resource backends are not served"},
      {"{rules: [{host: 10.0.0.1}]}", "spec.rules[0].host: expected a DNS name, not an IP address"},
      {"{rules: [{host: 'a.*.b'}]}",
       "spec.rules[0].host: 'a.*.b' is not a wildcard name: '*.' and then a DNS name"},
      {"{rules: [{host: '*.b.example'}]}", ""},
      {"{rules: [{http: {paths: [{pathType: Exact, backend: {service: {name: web, "
       "port: {number: 80}}}}]}}]}",
       "spec.rules[0].http.paths[0].path: missing; expected one that begins with '/'"},
      {"{rules: [{http: {paths: [&p {path: /, pathType: Exact, backend: {service: {name: web, "
       "port: {number: 80}}}}, *p]}}]}",
       "warning: spec.rules[0].http.paths[1].path: the same host and path again; the first one is "
       "used"},
      {"{rules: [{host: a.example}], tls: [{hosts: [a.example], secretName: c}]}",
       "warning: spec.tls[0].secretName: no Secret default/c is in these files"},
  };
  for (const auto& [spec, expected] : cases) {
    std::string want(expected);
    const bool warning = want.starts_with("warning: ");
    if (warning) want = want.substr(9);
    if (!want.empty()) {
      want = std::string("f.yaml:6: ") + (warning ? "warning: " : "") +
             "Ingress default/i: " + want + "\n";
    }
    EXPECT_EQ(semantic(head + std::string(spec)), want) << spec;
  }
}

TEST_F(Validate, ChecksSecretsSlicesAndNames) {
  const std::string_view cases[][2] = {
      {"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/tls\n"
       "stringData: {tls.crt: x}\n",
       "f.yaml:1: Secret default/s: data[tls.key]: missing, as type kubernetes.io/tls needs it\n"},
      {"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\n"
       "addressType: IPv4\nendpoints: []\n",
       "f.yaml:1: warning: EndpointSlice default/s: metadata.labels: no "
       "kubernetes.io/service-name, "
       "so it belongs to no Service\n"},
      {"apiVersion: v1\nkind: Namespace\nmetadata: {name: a.b}\n",
       "f.yaml:1: Namespace a.b: metadata.name: 'a.b' is not a DNS label: at most 63 of a-z, 0-9 "
       "and "
       "'-', not '-' first or last\n"},
      {"apiVersion: v1\nkind: Node\nmetadata: {name: a, labels: {'b c': d, e: 'f g'}}\n",
       "f.yaml:1: Node a: metadata.labels: 'b c' is not a key: [DOMAIN/]NAME, a name of at most 63 "
       "letters, digits, '-', '_' and '.'\n"
       "f.yaml:1: Node a: metadata.labels[e]: 'f g' is not a label value: at most 63 letters, "
       "digits, '-', '_' and '.'\n"},
      {"apiVersion: v1\nkind: Node\nmetadata: {name: a}\n---\n"
       "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n",
       "f.yaml:5: warning: Node a: is also in f.yaml:1; the last one counts\n"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(semantic(text), expected) << text;
}

TEST(Names, Syntax) {
  struct Case {
    std::string_view text;
    bool label, label_1035, subdomain, wildcard, key, value;
  };
  const std::string long_label(64, 'a');
  const Case cases[] = {
      {"web", true, true, true, false, true, true},
      {"web-1", true, true, true, false, true, true},
      {"1web", true, false, true, false, true, true},
      {"", false, false, false, false, false, true},
      {"-a", false, false, false, false, false, false},
      {"a-", false, false, false, false, false, false},
      {"a.b", false, false, true, false, true, true},
      {"a..b", false, false, false, false, true, true},
      {"A_b", false, false, false, false, true, true},
      {"*.a", false, false, false, true, false, false},
      {"*.", false, false, false, false, false, false},
      {"a.example/b", false, false, false, false, true, false},
      {"A.example/b", false, false, false, false, false, false},
      {"a/b/c", false, false, false, false, false, false},
      {long_label, false, false, true, false, false, false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(dns_label_problem(c.text).empty(), c.label) << c.text;
    EXPECT_EQ(dns_1035_label_problem(c.text).empty(), c.label_1035) << c.text;
    EXPECT_EQ(dns_subdomain_problem(c.text).empty(), c.subdomain) << c.text;
    EXPECT_EQ(wildcard_subdomain_problem(c.text).empty(), c.wildcard) << c.text;
    EXPECT_EQ(label_key_problem(c.text).empty(), c.key) << c.text;
    EXPECT_EQ(label_value_problem(c.text).empty(), c.value) << c.text;
  }
}

class Files : public Validate {
 protected:
  Files() {
    char name[] = "/tmp/fairlead-validate-XXXXXX";
    dir_ = ::mkdtemp(name);
  }
  ~Files() override { std::filesystem::remove_all(dir_); }
  void write(const std::string& name, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(dir_ + "/" + name).parent_path());
    std::ofstream(dir_ + "/" + name) << text;
  }
  std::string dir_;
};

TEST_F(Files, ReadsFoldersInOrderAndSkipsOtherFiles) {
  write("b.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n");
  write("sub/a.json", R"({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})");
  write("c.yml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: c}\n");
  write("notes.txt", "{");
  write(".b.yaml.swp", "{");
  write(".git/x.yaml", "{");
  std::filesystem::create_symlink("gone.yaml", dir_ + "/dangling.yaml");
  const Manifests all = validate_files({dir_}, schema_);
  EXPECT_EQ(lines(all.problems), "");
  ASSERT_EQ(all.objects.size(), 3u);
  EXPECT_EQ(all.objects[0].file, dir_ + "/b.yaml");
  EXPECT_EQ(all.objects[2].file, dir_ + "/sub/a.json");
}

TEST_F(Files, NamesWhatCannotBeRead) {
  write("bad.yaml", "kind: [\n");
  const Manifests all = validate_files({dir_ + "/none", dir_}, schema_);
  EXPECT_EQ(lines(all.problems), dir_ + "/none: No such file or directory\n" + dir_ +
                                     "/bad.yaml:2: end of sequence flow not found\n");
  EXPECT_FALSE(all.ok());
}

TEST_F(Files, ChecksAcrossFiles) {
  write("i.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\n"
        "spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n");
  EXPECT_EQ(validate_files({dir_ + "/i.yaml"}, schema_).problems.size(), 1u);
  write("s.yaml", service("web", "{ports: [{port: 80}]}"));
  EXPECT_EQ(validate_files({dir_ + "/i.yaml", dir_ + "/s.yaml"}, schema_).problems.size(), 0u);
}

TEST(ManifestNames, AreByExtension) {
  EXPECT_TRUE(is_manifest_name("a.yaml"));
  EXPECT_TRUE(is_manifest_name("a.yml"));
  EXPECT_TRUE(is_manifest_name("a.json"));
  EXPECT_FALSE(is_manifest_name(".a.yaml"));
  EXPECT_FALSE(is_manifest_name("a.yaml~"));
  EXPECT_FALSE(is_manifest_name("a.txt"));
}

}  // namespace
}  // namespace fairlead::api
