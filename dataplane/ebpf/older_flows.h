// Flows that began under another layout's programs: an upgrade must not break them.
#pragma once

#include "base/result.h"
#include "dataplane/ebpf/maps.h"
#include "dataplane/ebpf/object.h"
#include "dataplane/ebpf/pins.h"

namespace fairlead::dataplane::ebpf {

// Copies the conntrack and reverse entries of an older layout into ours, where they have our shape
// (they have had it since layout 1; what they say of the backend's service is forgotten, so that
// datagrams choose again). Returns how many. To be called right before our programs take over.
Result<size_t> carry_older_flows(const Pins& pins, const Object& object, Maps& maps);

// After they have taken over: those that began in between. What our programs wrote stays. Marks
// must be refreshed afterwards. Returns how many.
size_t carry_missed_flows(const Pins& pins, const Object& object);

}  // namespace fairlead::dataplane::ebpf
