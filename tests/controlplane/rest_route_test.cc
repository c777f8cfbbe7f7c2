// Paths and methods to routes; the errors' Status documents; list tokens.
#include "controlplane/route.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "controlplane/list_token.h"
#include "controlplane/object_meta.h"
#include "store_support.h"

namespace fairlead::controlplane {
namespace {

struct RouteCase {
  const char* request;
  const char* route;  // "verb resource ns name sub", "none", or the code of the error
};

constexpr RouteCase kRoutes[] = {
    {"GET /api/v1/pods", "list pods - - -"},
    {"GET /api/v1/pods/", "list pods - - -"},
    {"GET /api/v1/pods?watch=true", "watch pods - - -"},
    {"GET /api/v1/pods?watch=1", "watch pods - - -"},
    {"GET /api/v1/pods?watch", "watch pods - - -"},
    {"GET /api/v1/pods?watch=false", "list pods - - -"},
    {"GET /api/v1/watch/pods", "watch pods - - -"},
    {"GET /api/v1/watch/namespaces/d/pods", "watch pods d - -"},
    {"GET /api/v1/namespaces/d/pods", "list pods d - -"},
    {"POST /api/v1/namespaces/d/pods", "create pods d - -"},
    {"DELETE /api/v1/namespaces/d/pods", "deletecollection pods d - -"},
    {"GET /api/v1/namespaces/d/pods/p", "get pods d p -"},
    {"HEAD /api/v1/namespaces/d/pods/p", "get pods d p -"},
    {"GET /api/v1/namespaces/d/pods/p?watch=true", "watch pods d p -"},
    {"PUT /api/v1/namespaces/d/pods/p", "update pods d p -"},
    {"PATCH /api/v1/namespaces/d/pods/p", "patch pods d p -"},
    {"DELETE /api/v1/namespaces/d/pods/p", "delete pods d p -"},
    {"PUT /api/v1/namespaces/d/pods/p/status", "update pods d p status"},
    {"POST /api/v1/namespaces/d/pods/p/eviction", "create pods d p eviction"},
    {"GET /api/v1/namespaces/d/pods/p/status", "get pods d p status"},
    {"GET /api/v1/namespaces", "list namespaces - - -"},
    {"GET /api/v1/namespaces/d", "get namespaces - d -"},
    {"PUT /api/v1/namespaces/d/finalize", "update namespaces - d finalize"},
    {"PATCH /api/v1/namespaces/d/status", "patch namespaces - d status"},
    {"GET /api/v1/nodes/n%2e1", "get nodes - n.1 -"},
    {"GET /apis/networking.k8s.io/v1/namespaces/d/ingresses", "list ingresses d - -"},
    {"GET /apis/discovery.k8s.io/v1/endpointslices", "list endpointslices - - -"},
    {"GET /apis/discovery.k8s.io/v1beta1/endpointslices", "list endpointslices - - -"},
    {"PUT /apis/discovery.k8s.io/v1beta1/namespaces/d/endpointslices/e", "405"},
    {"GET /api/v1beta1/pods", "404"},
    {"GET /", "none"},
    {"GET /api", "none"},
    {"GET /api/v1", "none"},
    {"GET /apis/networking.k8s.io/v1", "none"},
    {"GET /healthz", "none"},
    {"GET /openapi/v3/api/v1", "none"},
    {"GET /api/v1/widgets", "404"},
    {"GET /api/v2/pods", "404"},
    {"GET /apis/apps/v1/deployments", "404"},
    {"GET /api/v1/namespaces/d/nodes", "404"},
    {"GET /api/v1/namespaces/d/pods/p/log", "404"},
    {"GET /api/v1/namespaces/d/pods/p/status/x", "404"},
    {"POST /api/v1/namespaces/d/pods/p", "405"},
    {"PUT /api/v1/namespaces/d/pods", "405"},
    {"DELETE /api/v1/namespaces", "405"},
    {"BREW /api/v1/namespaces/d/pods", "405"},
    {"DELETE /api/v1/namespaces/d/pods/p/status", "405"},
    {"GET /api/v1/namespaces/d/pods/p/eviction", "405"},
    {"GET /api/v1/pods/p", "400"},
    {"POST /api/v1/pods", "400"},
    {"DELETE /api/v1/pods", "400"},
};

TEST(RestRouteTest, ReadsRequestLines) {
  ResourceTable table;
  auto shown = [](std::string_view text) { return text.empty() ? "-" : text; };
  for (const RouteCase& c : kRoutes) {
    std::string_view line = c.request;
    size_t space = line.find(' ');
    net::HttpRequest request{.method = std::string(line.substr(0, space)),
                             .target = std::string(line.substr(space + 1))};
    auto route = parse_route(table, request.method, request.path(), Query(request.query()));
    std::string got = "none";
    if (!route)
      got = cat(route.error().code);
    else if (*route)
      got = cat((*route)->verb, " ", (*route)->resource->plural, " ", shown((*route)->ns), " ",
                shown((*route)->name), " ", shown((*route)->subresource));
    EXPECT_EQ(got, c.route) << c.request;
  }
}

TEST(RestRouteTest, QueryReadsFlagsAndValues) {
  Query query("watch&limit=5&limit=6&sel=a%3Db%2Cc&off=false&on=TRUE&one=1");
  EXPECT_TRUE(query.flag("watch"));
  EXPECT_TRUE(query.flag("on"));
  EXPECT_TRUE(query.flag("one"));
  EXPECT_FALSE(query.flag("off"));
  EXPECT_FALSE(query.flag("absent"));
  EXPECT_EQ(query.get("limit"), "5");
  EXPECT_EQ(query.get("sel"), "a=b,c");
  EXPECT_TRUE(query.has("off"));
}

struct StatusCase {
  ApiError error;
  int code;
  const char* reason;
  const char* message;
};

TEST(RestStatusTest, TextsAreThoseThatClientsKnow) {
  ResourceTable table;
  const Resource& pods = *table.find("", "v1", "pods");
  const Resource& ingresses = *table.find("networking.k8s.io", "v1", "ingresses");
  const StatusCase cases[] = {
      {not_found(pods, "x"), 404, "NotFound", R"(pods "x" not found)"},
      {not_found(ingresses, "x"), 404, "NotFound", R"(ingresses.networking.k8s.io "x" not found)"},
      {already_exists(pods, "x"), 409, "AlreadyExists", R"(pods "x" already exists)"},
      {conflict(pods, "x"), 409, "Conflict",
       R"(Operation cannot be fulfilled on pods "x": the object has been modified; please apply your changes to the latest version and try again)"},
      {forbidden(pods, "x", "no"), 403, "Forbidden", R"(pods "x" is forbidden: no)"},
      {unauthorized(), 401, "Unauthorized", "Unauthorized"},
      {bad_request("b"), 400, "BadRequest", "b"},
      {expired("old"), 410, "Expired", "old"},
      {too_large_version(9, 4), 504, "Timeout",
       "Timeout: Too large resource version: 9, current: 4"},
      {invalid(ingresses, "x", {{"spec.a", "FieldValueRequired", "Required value"}}), 422,
       "Invalid", R"(Ingress.networking.k8s.io "x" is invalid: spec.a: Required value)"},
      {internal_error("disk"), 500, "InternalError", "Internal error occurred: disk"},
  };
  for (const StatusCase& c : cases) {
    net::HttpResponse response = to_response(c.error);
    json::value status = parsed(response.body);
    EXPECT_EQ(response.status, c.code);
    EXPECT_EQ(find_string(status, "kind"), "Status");
    EXPECT_EQ(find_string(status, "apiVersion"), "v1");
    EXPECT_EQ(find_string(status, "status"), "Failure");
    EXPECT_EQ(find_string(status, "reason"), c.reason);
    EXPECT_EQ(find_string(status, "message"), c.message);
    EXPECT_EQ(find(status, "code")->get_int64(), c.code);
  }
}

TEST(RestStatusTest, DetailsNameTheObjectAndTheCauses) {
  ResourceTable table;
  const Resource& ingresses = *table.find("networking.k8s.io", "v1", "ingresses");
  json::value missing = parsed(status_json(not_found(ingresses, "x")));
  EXPECT_EQ(json::serialize(*find(missing, "details")),
            R"({"name":"x","group":"networking.k8s.io","kind":"ingresses"})");
  json::value bad = parsed(
      status_json(invalid(ingresses, "x", {{"spec.a", "FieldValueRequired", "Required value"}})));
  EXPECT_EQ(json::serialize(*find(bad, "details", "causes")),
            R"([{"reason":"FieldValueRequired","message":"Required value","field":"spec.a"}])");
  net::HttpResponse late = to_response(too_large_version(9, 4));
  EXPECT_EQ(late.headers.get("Retry-After"), "1");
  EXPECT_EQ(find(parsed(late.body), "details", "retryAfterSeconds")->get_int64(), 1);
}

TEST(RestTokenTest, ComesBackAsItWent) {
  for (const ListToken& token : {ListToken{1, "", "a"}, ListToken{0, "ns", "x"},
                                 ListToken{123456789, "default", std::string(253, 'n')}}) {
    std::string text = encode_token(token);
    EXPECT_EQ(text.find_first_of("+/="), std::string::npos);
    EXPECT_EQ(decode_token(text), token);
  }
}

TEST(RestTokenTest, RefusesWhatItDidNotMake) {
  std::string long_text(5000, 'A');
  for (std::string_view text :
       {"", "x", "!!!!", "e30", "bm90IGpzb24", std::string_view(long_text).data()})
    EXPECT_FALSE(decode_token(text)) << text;
  auto encoded = [](std::string_view json) {
    std::string out = base64_encode(json);
    while (out.ends_with('=')) out.pop_back();
    return out;
  };
  for (std::string_view json :
       {R"({"v":"v0","rv":1,"start":"a/b"})", R"({"v":"meta.k8s.io/v1","rv":"1","start":"a/b"})",
        R"({"v":"meta.k8s.io/v1","rv":1,"start":"ab"})",
        R"({"v":"meta.k8s.io/v1","rv":1,"start":"a/"})", "[]"})
    EXPECT_FALSE(decode_token(encoded(json))) << json;
}

TEST(RestMetaTest, UidsAreRandomVersion4) {
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) {
    std::string uid = new_uid();
    EXPECT_THAT(uid, testing::MatchesRegex(
                         "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
    seen.insert(uid);
  }
  EXPECT_EQ(seen.size(), 200U);
}

TEST(RestMetaTest, GeneratedNamesKeepToTheLimit) {
  EXPECT_THAT(generated_name("web-"), testing::MatchesRegex("web-[bcdfghjklmnpqrstvwxz2-9]{5}"));
  EXPECT_EQ(generated_name(std::string(100, 'a')).size(), 63U);
  EXPECT_NE(generated_name("x"), generated_name("x"));
}

TEST(RestMetaTest, ComparesWithoutTheRevision) {
  auto same = [](std::string_view a, std::string_view b) {
    return same_but_version(parsed(a), parsed(b));
  };
  EXPECT_TRUE(same(R"({"metadata":{"name":"a","resourceVersion":"1"},"x":1})",
                   R"({"x":1,"metadata":{"resourceVersion":"2","name":"a"}})"));
  EXPECT_FALSE(same(R"({"metadata":{"name":"a"}})", R"({"metadata":{"name":"b"}})"));
  EXPECT_FALSE(same(R"({"metadata":{},"x":1})", R"({"metadata":{},"x":2})"));
  EXPECT_FALSE(same(R"({"metadata":{},"x":1})", R"({"metadata":{},"y":1})"));
  EXPECT_FALSE(same(R"({"metadata":{}})", R"({"metadata":{},"y":1})"));
}

}  // namespace
}  // namespace fairlead::controlplane
