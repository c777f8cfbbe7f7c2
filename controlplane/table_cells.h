// Helpers that the printers of several kinds share.
#pragma once

#include <string>
#include <string_view>

#include "api/json.h"
#include "base/clock.h"

namespace fairlead::controlplane {

std::string age_of(const json::value& object, WallTime now);  // from metadata.creationTimestamp
// "a=1,b=2" by key, "<none>" when there are none (a map of labels or a selector).
std::string label_text(const json::value* map);
int64_t member_count(const json::value& object, std::string_view member);
std::string text_or(std::string_view text, std::string_view otherwise);
std::string number_text(const json::value* value);  // an integer or string as text, "" if absent
// The elements of a list at a path; empty when it is not there.
const json::array& list_at(const json::value& object, std::string_view key);
const json::array& list_at(const json::value& object, std::string_view key, std::string_view inner);

json::array pod_cells(const json::value& pod, WallTime now);
json::array node_cells(const json::value& node, WallTime now);
json::array event_cells(const json::value& event, WallTime now);
json::array service_cells(const json::value& service, WallTime now);
json::array endpoints_cells(const json::value& endpoints, WallTime now);
json::array endpoint_slice_cells(const json::value& slice, WallTime now);
json::array ingress_cells(const json::value& ingress, WallTime now);
json::array ingress_class_cells(const json::value& ingress_class, WallTime now);

}  // namespace fairlead::controlplane
