// What the tests of ServiceSync and NodeSync share: dumps of maps in memory, random tables, and an
// eye on what a program could see between two writes.
#pragma once

#include <map>
#include <random>
#include <set>
#include <string>

#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/service_sync.h"
#include "dataplane/service_table.h"

namespace fairlead::dataplane::ebpf {

std::string dump(const Maps& maps, const ServiceSync& sync);

// The services in which they differ.
std::set<api::ObjectKey> differences(const ServiceTable& a, const ServiceTable& b);

// `from` after a few edits of all kinds, small enough that they often meet.
ServiceTable random_table(std::mt19937& random, const ServiceTable& from);

using Sets = std::map<std::string, std::set<std::string>>;  // frontend and set -> backends
Sets sets_of(const ServiceTable& table);

// What a program could do wrong at this moment, on the way from `before` to `after`, or "".
std::string wrong_now(const FakeMaps& maps, const Sets& before, const Sets& after);

// For each frontend and set with Maglev, one number for the backends of all places in their order.
std::map<std::string, size_t> hashed_choices(const FakeMaps& maps);

}  // namespace fairlead::dataplane::ebpf
