// Selector grammar and matching, as tables.
#include "controlplane/selector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store_support.h"

namespace fairlead::controlplane {
namespace {

using testing::HasSubstr;

using Labels = std::vector<std::pair<std::string, std::string>>;

struct LabelCase {
  const char* selector;
  bool web;    // {app=web, tier=front}
  bool db;     // {app=db}
  bool plain;  // {}
};

constexpr LabelCase kLabelCases[] = {
    {"", true, true, true},
    {"app=web", true, false, false},
    {"app==web", true, false, false},
    {" app = web ", true, false, false},
    {"app!=web", false, true, true},
    {"app=web,tier=front", true, false, false},
    {"app=web,tier=back", false, false, false},
    {"app", true, true, false},
    {"!app", false, false, true},
    {"! tier", false, true, true},
    {"app in (web,db)", true, true, false},
    {"app in ( db )", false, true, false},
    {"app notin (web)", false, true, true},
    {"app notin (web, db)", false, false, true},
    {"tier,app=web", true, false, false},
    {"app in (web),!missing", true, false, false},
    {"app=", false, false, false},
    {"app in (,web)", true, false, false},
    {"example.com/x-y_z", false, false, false},
    {"!example.com/x-y_z", true, true, true},
};

TEST(HubLabelSelectorTest, Matches) {
  const Labels web = {{"app", "web"}, {"tier", "front"}}, db = {{"app", "db"}}, plain;
  for (const LabelCase& c : kLabelCases) {
    auto selector = LabelSelector::parse(c.selector);
    ASSERT_TRUE(selector) << c.selector << ": " << selector.error().message;
    EXPECT_EQ(selector->matches(web), c.web) << c.selector;
    EXPECT_EQ(selector->matches(db), c.db) << c.selector;
    EXPECT_EQ(selector->matches(plain), c.plain) << c.selector;
  }
}

TEST(HubLabelSelectorTest, RefusesWhatItCannotRead) {
  const std::string long_value(64, 'x'), long_key(318, 'k');
  for (const std::string& text :
       {std::string(","), std::string("app=web,"), std::string("app in"), std::string("app in ("),
        std::string("app in (web"), std::string("app near (web)"), std::string("=web"),
        std::string("!"), std::string("app=web tier=front"), std::string("app=a/b"),
        std::string("app > 3"), "app=" + long_value, long_key + "=x", std::string("\xff=1")}) {
    auto selector = LabelSelector::parse(text);
    ASSERT_FALSE(selector) << text;
    EXPECT_THAT(selector.error().message, HasSubstr("unable to parse requirement")) << text;
  }
  std::string many = "a";
  for (int i = 0; i < 2000; ++i) many += ",a";
  EXPECT_FALSE(LabelSelector::parse(many));
}

struct FieldCase {
  const char* resource;
  const char* selector;
  bool matches;
};

constexpr const char* kPod = R"({"metadata":{"name":"p","namespace":"n"},
    "spec":{"nodeName":"n1","restartPolicy":"Always"},"status":{"phase":"Running"}})";
constexpr const char* kEvent = R"({"metadata":{"name":"p","namespace":"n"},
    "involvedObject":{"kind":"Pod","name":"a,b=c"},"reason":"Started","source":{"component":"k"}})";

constexpr FieldCase kFieldCases[] = {
    {"pods", "", true},
    {"pods", "metadata.name=p", true},
    {"pods", "metadata.name==p", true},
    {"pods", "metadata.name!=p", false},
    {"pods", "metadata.namespace=n", true},
    {"pods", "metadata.namespace=other", false},
    {"pods", "spec.nodeName=n1", true},
    {"pods", "spec.nodeName=n2", false},
    {"pods", "spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed", true},
    {"pods", "spec.nodeName=n1,status.phase!=Running", false},
    {"pods", "spec.nodeName!=", true},
    {"pods", "spec.hostNetwork=false", true},
    {"pods", "spec.hostNetwork=true", false},
    {"pods", "status.podIP=", true},
    {"events", "involvedObject.name=a\\,b\\=c", true},
    {"events", "involvedObject.kind=Pod,reason=Started", true},
    {"events", "source=k", true},
    {"events", "type=Warning", false},
};

TEST(HubFieldSelectorTest, Matches) {
  ResourceTable table;
  for (const FieldCase& c : kFieldCases) {
    const Resource& row = *table.find("", "v1", c.resource);
    bool pod = std::string_view(c.resource) == "pods";
    ObjectPtr object = make_stored(row, parsed(pod ? kPod : kEvent), 1);
    auto selector = FieldSelector::parse(row, c.selector);
    ASSERT_TRUE(selector) << c.selector << ": " << selector.error().message;
    EXPECT_EQ(selector->matches(*object), c.matches) << c.selector;
  }
}

TEST(HubFieldSelectorTest, RefusesFieldsThatTheKindDoesNotHave) {
  ResourceTable table;
  struct Case {
    const char* resource;
    const char* selector;
    const char* complaint;
  };
  for (const Case& c : {Case{"pods", "spec.x=1", "field label not supported: spec.x"},
                        Case{"configmaps", "spec.nodeName=1", "not supported: spec.nodeName"},
                        Case{"nodes", "metadata.namespace=x", "not supported: metadata.namespace"},
                        Case{"pods", "=x", "expected field=value"},
                        Case{"pods", "status.phase", "expected field=value"}}) {
    auto selector = FieldSelector::parse(*table.find("", "v1", c.resource), c.selector);
    ASSERT_FALSE(selector) << c.selector;
    EXPECT_THAT(selector.error().message, HasSubstr(c.complaint));
  }
}

TEST(HubFieldSelectorTest, KnowsTheNameItAsksFor) {
  ResourceTable table;
  const Resource& row = *table.find("", "v1", "pods");
  EXPECT_EQ(FieldSelector::parse(row, "status.phase=x,metadata.name=web")->name(), "web");
  EXPECT_EQ(FieldSelector::parse(row, "metadata.name!=web")->name(), "");
}

}  // namespace
}  // namespace fairlead::controlplane
