#include "dns/plan.h"

#include "base/text.h"

namespace fairlead::dns {
namespace {

Zone make_zone(std::string_view text) {
  std::string wire = *name_to_wire(text);  // checked when the Corefile was read
  fold_case(reinterpret_cast<uint8_t*>(wire.data()), wire.size());
  const size_t labels = count_labels(wire);
  return {std::move(wire), labels};
}

Block make_block(const ServerBlock& config, const std::vector<Ip>& local_ips, Plan& plan) {
  Block block{.errors = config.errors};
  if (config.kubernetes) {
    block.kubernetes.emplace(*config.kubernetes, local_ips);
    const IndexOptions options = block.kubernetes->index_options();
    const auto found = std::find(plan.indexes.begin(), plan.indexes.end(), options);
    block.index = static_cast<size_t>(found - plan.indexes.begin());
    if (found == plan.indexes.end()) plan.indexes.push_back(options);
  }
  for (const auto& forward : config.forwards) {
    ForwardStep step{
        .from = make_zone(forward.from), .config = &forward, .number = plan.forward_steps++};
    for (const auto& name : forward.except) step.except.push_back(make_zone(name));
    block.forwards.push_back(std::move(step));
  }
  for (const auto& log : config.logs) block.logs.push_back({make_zone(log.zone), &log});
  return block;
}

}  // namespace

bool ForwardStep::takes(const FoldedName& name) const {
  return from.holds(name) && std::none_of(except.begin(), except.end(),
                                          [&](const Zone& zone) { return zone.holds(name); });
}

const ServedZone* Site::route(const FoldedName& name, uint16_t type) const {
  const ServedZone* own = nullptr;
  for (const auto& served : zones) {
    if (!served.zone.holds(name)) continue;
    // A DS record belongs to the parent, if that is served here too.
    if (type != type::ds || served.zone.labels < name.labels) return &served;
    own = &served;
  }
  return own;
}

Plan::Plan(Corefile the_corefile, const std::vector<Ip>& local_ips)
    : corefile(std::move(the_corefile)) {
  for (size_t i = 0; i < corefile.blocks.size(); ++i) {
    const ServerBlock& config = corefile.blocks[i];
    blocks.push_back(make_block(config, local_ips, *this));
    for (const auto& key : config.keys) {
      auto site = std::find_if(sites.begin(), sites.end(),
                               [&](const Site& one) { return one.port == key.port; });
      const std::string server = cat("dns://:", key.port);
      if (site == sites.end()) {
        sites.push_back({.port = key.port, .slot = slots.size()});
        slots.push_back({server, "dropped"});
        site = sites.end() - 1;
      }
      site->zones.push_back({make_zone(key.name), i, slots.size()});
      site->recursion = site->recursion || !config.forwards.empty();
      slots.push_back({server, key.name});
    }
  }
  for (auto& site : sites) {
    std::sort(site.zones.begin(), site.zones.end(), [](const ServedZone& a, const ServedZone& b) {
      return a.zone.labels > b.zone.labels;
    });
  }
}

}  // namespace fairlead::dns
