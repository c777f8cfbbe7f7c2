// The steps that a query goes through, and the plugins that a Corefile may name: this is the one
// place that says what there is and in which order. As in CoreDNS the order is that of this list
// (a part of CoreDNS's plugin.cfg), not that of the Corefile.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dns/corefile.h"

namespace fairlead::dns {

struct PluginRow {
  std::string_view name;
  Result<void> (*configure)(const Directive& directive, ServerBlock& block);
  bool repeats = false;  // may stand more than once in a server block
};

std::span<const PluginRow> plugin_rows();
const PluginRow* find_plugin(std::string_view name);
std::string plugin_names();  // "ready, health, ..."

}  // namespace fairlead::dns
