// ObjectMeta in JSON documents: reading it, and the parts that only the server may set.
// Source: meta/v1 ObjectMeta.
#pragma once

#include <string>
#include <string_view>

#include "api/json.h"
#include "base/clock.h"

namespace fairlead::controlplane {

std::string new_uid();                              // UUID version 4 (RFC 9562)
std::string generated_name(std::string_view base);  // base cut to 58 characters, and 5 random ones

json::object& metadata_of(json::value& document);      // made when it is absent or not an object
bool deleting(const json::value& document);            // metadata.deletionTimestamp is set
bool has_entries(const json::value* list);             // a list with something in it
bool held_by_finalizers(const json::value& document);  // of metadata, or of a Namespace's spec
int64_t grace_of(const json::value& document);         // deletionGracePeriodSeconds, or 0

// Are the documents the same but for metadata.resourceVersion?
bool same_but_version(const json::value& a, const json::value& b);
// Does anything but metadata and status differ?
bool spec_differs(const json::value& a, const json::value& b);

// For a new object: uid, creationTimestamp, generation 1 if `generation`; nothing of what a client
// may not choose stays.
void stamp_new(json::value& document, WallTime now, bool generation);
// For an update: what the server set on `old` stays as it was.
void keep_system_fields(json::value& document, const json::value& old);
void bump_generation(json::value& document);

}  // namespace fairlead::controlplane
