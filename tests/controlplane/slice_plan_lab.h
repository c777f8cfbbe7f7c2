// A Service, its pods, and a plan of slices in words.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/codec.h"
#include "base/text.h"
#include "controlplane/controllers/slice_plan.h"

namespace fairlead::controlplane {

inline constexpr std::string_view now = "2026-01-01T00:00:00Z";

inline api::Service service_with(std::vector<api::ServicePort> ports) {
  api::Service service;
  service.meta.key = {"default", "web"};
  service.meta.uid = "u-web";
  service.meta.labels = {{"team", "blue"}};
  service.cluster_ips = {*Ip::parse("10.96.0.9")};
  service.ip_families = {"IPv4"};
  service.selector = {{"app", "web"}};
  service.ports = std::move(ports);
  return service;
}

inline api::Service web() {
  return service_with({{.name = "http", .port = 80, .target_port = std::string("http")}});
}

inline std::shared_ptr<api::Pod> pod(int number, bool ready = true) {
  auto pod = std::make_shared<api::Pod>();
  pod->meta.key = {"default", cat("p", number)};
  pod->meta.uid = cat("u", number);
  pod->meta.labels = {{"app", "web"}, {"extra", "x"}};
  pod->node_name = "node1";
  pod->phase = "Running";
  pod->ready = ready;
  pod->ips = {Ip::v4(0x0af40000u + static_cast<uint32_t>(number))};
  pod->ports = {{"http", 8080, Protocol::tcp}};
  return pod;
}

// "p1 p2! p3~" : '!' not ready, '~' terminating, '^' serving while terminating.
inline std::string text_of(const json::value& slice) {
  std::vector<std::string> parts;
  for (const auto& endpoint : find(slice, "endpoints")->get_array()) {
    std::string part(find_string(endpoint, "targetRef", "name"));
    if (!find(endpoint, "conditions", "ready")->get_bool()) part += '!';
    if (find(endpoint, "conditions", "terminating")->get_bool()) part += '~';
    if (!find(endpoint, "conditions", "serving")->get_bool()) part += '-';
    parts.push_back(part);
  }
  std::vector<std::string> ports;
  for (const auto& port : find(slice, "ports")->get_array()) {
    ports.push_back(cat(find_string(port, "name"), '=',
                        static_cast<int64_t>(find(port, "port")->to_number<int64_t>())));
  }
  return cat(find_string(slice, "addressType"), " [", join(ports, " "), "] ", join(parts, " "));
}

inline std::string text_of(const SlicePlan& plan) {
  std::string out;
  for (const auto& document : plan.create) out += cat("create ", text_of(document), '\n');
  for (const auto& update : plan.update) {
    out += cat("update ", update.name, ' ', text_of(update.document), '\n');
  }
  for (const auto& name : plan.remove) out += cat("remove ", name, '\n');
  return out;
}

// What the feed would show after the plan was carried out.
inline SliceList after(const SlicePlan& plan, SliceList before) {
  int made = 0;
  const auto add = [&](json::value document, std::string name) {
    document.get_object()["metadata"].get_object()["name"] = name;
    document.get_object()["metadata"].get_object()["resourceVersion"] = "7";
    // Through text, as the feed has it.
    const auto object = api::decode(*parse_json(json::serialize(document)));
    EXPECT_TRUE(object) << (object ? "" : object.error().message);
    before.push_back(std::get<std::shared_ptr<const api::EndpointSlice>>(*object));
  };
  const auto drop = [&](const std::string& name) {
    std::erase_if(before, [&](const auto& slice) { return slice->meta.key.name == name; });
  };
  for (const auto& name : plan.remove) drop(name);
  for (const auto& update : plan.update) {
    drop(update.name);
    add(update.document, update.name);
  }
  for (const auto& document : plan.create) add(document, cat("new", before.size(), "-", made++));
  return before;
}

}  // namespace fairlead::controlplane
