// What takes chains of ours away again.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "dataplane/iptables/restore_input.h"
#include "dataplane/iptables/saved_rules.h"

namespace fairlead::dataplane::ipt {

// Whether a canary of ours is there: chains without one are kube-proxy's.
bool has_our_canary(const SavedRules& kernel);

// Inputs to be sent one after the other, of about so many writes each.
using Removal = std::vector<RestoreInput>;

// Removes every chain of ours and the rules of the kernel's chains that lead to them.
Removal removal_of(const SavedRules& kernel, size_t writes_at_once = SIZE_MAX);

// The same for a driver that retires: translation and tracking go on for the flows that there are,
// and the guard of 127.0.0.1 stays. removal_of() then takes away what is left.
Removal retirement_of(const SavedRules& kernel, size_t writes_at_once = SIZE_MAX);

// Adds the removal of these chains to the last of `inputs`, and to new ones when that is full. No
// chain goes before those that lead to it.
void remove_chains(std::vector<std::pair<Table, std::string>> chains, size_t writes_at_once,
                   Removal& inputs);

}  // namespace fairlead::dataplane::ipt
