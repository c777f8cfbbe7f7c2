// What is served, told in the two ways that clients ask: one aggregated document per root, or the
// older lists of groups, versions and resources. All from the ResourceTable; pure.
// Source: apidiscovery.k8s.io/v2 and v2beta1 (KEP-3352), meta/v1 APIGroupList and APIResourceList.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "controlplane/resource.h"

namespace fairlead::controlplane {

struct DiscoveryAnswer {
  std::string content_type;
  std::string body;
};

// GET /api and /apis. An aggregated answer is of the version that the Accept header names first:
// a client that knows v2beta1 only would read a v2 document as an empty one, without an error.
DiscoveryAnswer discover_core(const ResourceTable& table, std::string_view accept,
                              std::string_view server_address);
DiscoveryAnswer discover_groups(const ResourceTable& table, std::string_view accept);

// GET /apis/G, and GET /api/v1 or /apis/G/V. Nothing when that is not served.
std::optional<std::string> discover_group(const ResourceTable& table, std::string_view group);
std::optional<std::string> discover_version(const ResourceTable& table, std::string_view group,
                                            std::string_view version);

// GET /version. gitVersion names the API that is spoken and this program.
std::string version_document();

}  // namespace fairlead::controlplane
