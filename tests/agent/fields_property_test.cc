// What holds for every setting and for every field of a KubeProxyConfiguration, whatever its type.
#include <gtest/gtest.h>

#include "agent/kube_proxy_config.h"
#include "base/text.h"

namespace fairlead::agent {
namespace {

const std::vector<std::string> odd_values = {"",
                                             " ",
                                             ",",
                                             ",,,",
                                             "-",
                                             "0",
                                             "-1",
                                             "1",
                                             "true",
                                             "TRUE",
                                             "none",
                                             "auto",
                                             "10.0.0.1",
                                             "10.0.0.1,",
                                             "10.0.0.1,nonsense",
                                             "10.0.0.0/8,10.0.0.1",
                                             "::",
                                             "[::]:80",
                                             ":80",
                                             ":65536",
                                             "1s",
                                             "1s,",
                                             "-1s",
                                             "292y",
                                             "9223372036854775807",
                                             "9223372036854775808",
                                             "1e9",
                                             "0x10",
                                             "a=b",
                                             "=",
                                             "a.b=",
                                             "../x=1",
                                             "primary",
                                             "primary,x",
                                             "\x01",
                                             "\xff\xfe",
                                             "'",
                                             "\"",
                                             "a\nb",
                                             std::string(5000, 'x'),
                                             std::string("a\0b", 3)};

TEST(EverySetting, TakesAValueWholeOrNotAtAll) {
  for (const auto& row : agent_options()) {
    for (const std::string& value : odd_values) {
      AgentConfig config;
      const std::string before = row.get(config);
      const auto set = row.set(config, value);
      if (!set) {
        EXPECT_EQ(row.get(config), before) << row.name << " after '" << value << "'";
        EXPECT_FALSE(set.error().message.empty()) << row.name;
        continue;
      }
      const std::string once = row.get(config);
      AgentConfig again;
      ASSERT_TRUE(row.set(again, once)) << row.name << " printed '" << once << "'";
      EXPECT_EQ(row.get(again), once) << row.name;
    }
  }
}

TEST(EverySetting, ChangesNothingElse) {
  const AgentConfig defaults;
  const auto rows = agent_options();
  for (const auto& row : rows) {
    for (const std::string& value : odd_values) {
      AgentConfig config;
      if (!row.set(config, value)) continue;
      for (const auto& other : rows) {
        if (other.name == row.name) continue;
        EXPECT_EQ(other.get(config), other.get(defaults)) << row.name << " changed " << other.name;
      }
    }
  }
}

TEST(EverySetting, IsNamedAsFlagsAre) {
  for (const auto& row : agent_options()) {
    EXPECT_EQ(row.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz-"), row.name.npos) << row.name;
    EXPECT_FALSE(row.name.starts_with("no-")) << row.name << " is the other one's negation";
    EXPECT_FALSE(row.value.empty()) << row.name;
    EXPECT_FALSE(row.help.ends_with('.')) << row.name;
    EXPECT_NE(row.get(AgentConfig{}) == "true" || row.get(AgentConfig{}) == "false",
              row.value != bool_value)
        << row.name;
  }
}

constexpr std::string_view head =
    "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

// "ipvs.scheduler", "x" -> "ipvs:\n  scheduler: x\n"; the field stands on the last line.
std::string field_text(std::string_view path, std::string_view value) {
  std::string out(head), indent;
  const auto parts = split(path, '.');
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    out += cat(indent, parts[i], ":\n");
    indent += "  ";
  }
  return cat(out, indent, parts.back(), ": ", value, '\n');
}

std::string error_of(const std::string& text) {
  AgentConfig config;
  const auto done = apply_kube_proxy_config(config, text, "f");
  return done ? "" : done.error().message;
}

bool is_head(const KubeProxyField& field) {
  return field.path == "kind" || field.path == "apiVersion";
}

TEST(EveryKubeProxyField, RefusedMeansRefusedByNameAndLine) {
  for (const KubeProxyField& field : kube_proxy_fields()) {
    if (field.fate != FieldFate::refused) continue;
    for (const char* value : {"x", "true", "7", "[a]", "{a: b}", "1.5"}) {
      const std::string text = field_text(field.path, value);
      const auto line = std::count(text.begin(), text.end(), '\n');
      EXPECT_EQ(error_of(text),
                cat("f:", line, ": ", field.path, ": is not available: ", field.note));
    }
    for (const char* unset : {"", "null", "\"\"", "false", "0", "[]", "{}", "0s"}) {
      EXPECT_EQ(error_of(field_text(field.path, unset)), "") << field.path << ": " << unset;
    }
  }
}

TEST(EveryKubeProxyField, HonouredMeansThatNonsenseIsRefused) {
  for (const KubeProxyField& field : kube_proxy_fields()) {
    if (field.fate != FieldFate::honoured || is_head(field)) continue;
    const std::string text = field_text(field.path, "{a: {b: c}}");
    const auto line = std::count(text.begin(), text.end(), '\n');
    EXPECT_TRUE(error_of(text).starts_with(cat("f:", line, ": ", field.path, ": ")))
        << field.path << ": " << error_of(text);
  }
}

TEST(EveryKubeProxyField, UnsetChangesNothing) {
  const AgentConfig defaults;
  for (const KubeProxyField& field : kube_proxy_fields()) {
    if (is_head(field)) continue;
    for (const char* unset : {"", "null", "\"\""}) {
      AgentConfig config;
      ASSERT_TRUE(apply_kube_proxy_config(config, field_text(field.path, unset), "f"))
          << field.path;
      for (const auto& row : agent_options()) {
        EXPECT_EQ(row.get(config), row.get(defaults)) << field.path << " set " << row.name;
      }
    }
  }
}

TEST(EveryKubeProxyField, ASlipIsMetWithTheFieldThatWasMeant) {
  for (const KubeProxyField& field : kube_proxy_fields()) {
    if (is_head(field)) continue;
    const std::string slip = cat(field.path, "x");
    const std::string error = error_of(field_text(slip, "1"));
    EXPECT_NE(error.find(cat(slip, ": unknown field")), std::string::npos) << error;
    EXPECT_NE(error.find(cat("did you mean '", field.path, "'?")), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace fairlead::agent
