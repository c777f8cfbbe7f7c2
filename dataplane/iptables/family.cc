#include "dataplane/iptables/family.h"

#include <utility>

#include "base/text.h"
#include "dataplane/iptables/listing.h"

namespace fairlead::dataplane::ipt {

Result<SavedRules> Family::read_kernel() {
  SavedRulesReader reader;
  Result<void> read;
  FL_TRY_VOID(runner_.save(ipv6_, [&](std::string_view line) {
    if (read) read = reader.line(line);
  }));
  FL_TRY_VOID(read);
  auto saved = reader.finish();
  works_ |= saved.has_value();
  return saved;
}

Result<void> Family::find() {
  auto found = read_kernel();
  if (!found) {
    if (!ipv6_) return fail("iptables: the rules cannot be read", found.error());
    log_.warn("the IPv6 rules cannot be read", {{"reason", found.error().message}});
    return {};  // the first reconcile() tries again
  }
  if (!found->empty()) {
    const auto& chains = found->chains;
    log_.info(
        "found the chains of an earlier run",
        {{"family", name()}, {"chains", chains[0].size() + chains[1].size() + chains[2].size()}});
  }
  found_ = std::move(*found);
  return {};
}

void Family::plan(const ServiceTable& table, const Style& style) {
  wanted_.emplace(Layout(table.node, style));
  wanted_->reset(table);
  in_sync_ = false;
}

void Family::change(const ServiceTable& before, const ServiceTable& after,
                    const std::set<api::ObjectKey>& keys, ApplyReport& report) {
  const RestoreInput input = wanted_->change(before, after, keys);
  if (!in_sync_ || input.empty()) return;
  const auto sent = restorer_.send_change(ipv6_, input, report);
  if (sent) return;
  in_sync_ = false;
  log_.warn("a change was refused; comparing everything",
            {{"family", name()}, {"reason", sent.error().message}});
}

void Family::reconcile(const ServiceTable& table, ApplyReport& report) {
  auto kernel = found_ ? Result<SavedRules>(std::move(*found_)) : read_kernel();
  found_.reset();
  if (!kernel) {
    // A host without ip6tables, and nothing for it to do.
    if (!is_needed()) {
      in_sync_ = true;
      if (!std::exchange(absent_, true)) {
        log_.warn("no IPv6 rules on this host", {{"reason", kernel.error().message}});
      }
      return;
    }
    log_.error("the rules cannot be read",
               {{"family", name()}, {"reason", kernel.error().message}});
    report.errors.push_back(cat("iptables: ", name(), ": ", kernel.error().message));
    return;
  }
  absent_ = false;
  const auto difference = wanted_->difference(table, *kernel, runner_.writes_at_once());
  kernel = SavedRules();
  for (const RestoreInput& input : difference.inputs) {
    if (const auto sent = restorer_.send(ipv6_, input, report); !sent) {
      log_.error("the rules were refused", {{"family", name()}, {"reason", sent.error().message}});
      report.errors.push_back(cat("iptables: ", name(), ": ", input.writes(),
                                  " writes refused: ", sent.error().message));
      return;
    }
  }
  in_sync_ = true;
}

Result<void> Family::verify(const ServiceTable& table, bool repair, std::vector<Drift>& drifts) {
  auto read = read_kernel();
  if (!read && absent_ && !is_needed()) return {};
  FL_TRY(const SavedRules kernel, std::move(read));
  absent_ = false;
  auto difference = wanted_->difference(table, kernel, runner_.writes_at_once());
  for (size_t i = 0; repair && i < difference.inputs.size(); ++i) {
    ApplyReport report;
    const auto sent = restorer_.send(ipv6_, difference.inputs[i], report);
    in_sync_ = sent.has_value();
    if (!sent) return fail(cat("iptables: ", name()), sent.error());
  }
  for (Drift& drift : difference.drifts) {
    drift.repaired = repair;
    drifts.push_back(std::move(drift));
  }
  return {};
}

Result<bool> Family::was_flushed(Table table) const {
  FL_TRY(const auto chain, runner_.list_chain(ipv6_, table, std::string(canary_name)));
  return !chain || chain->find(cat("-A ", canary_name)) == std::string::npos;
}

Result<SavedRules> Family::removable(bool only_ours) {
  in_sync_ = false;
  found_.reset();
  auto kernel = read_kernel();
  if (!kernel && !is_needed()) return SavedRules();
  if (!kernel) return fail("iptables: cleanup", kernel.error());
  if (only_ours && !has_our_canary(*kernel)) {
    if (!kernel->empty()) log_.info("another proxy's chains stay; none of them is ours");
    return SavedRules();
  }
  return kernel;
}

Result<void> Family::send(const Removal& inputs) {
  for (const RestoreInput& input : inputs) {
    if (const auto sent = runner_.restore(ipv6_, input.text()); !sent) {
      return fail(cat("iptables: cleanup of ", name()), sent.error());
    }
  }
  return {};
}

void Family::list_entries(const ServiceTable& table, const api::ObjectKey& service,
                          std::vector<std::string>& out) const {
  if (!wanted_) return;
  const Wanted::Entries entries = wanted_->entries(table, service);
  if (entries.chains.empty() && entries.shared.empty()) return;
  EntryLister lister(ipv6_, entries, out);
  const auto read = runner_.save(ipv6_, [&](std::string_view line) { lister.line(line); });
  if (!read) out.push_back(cat("error: ", read.error().message));
}

std::string Family::dump() const {
  Listing listing;
  const auto read = runner_.save(ipv6_, [&](std::string_view line) { listing.line(line); });
  return read ? listing.text(ipv6_) : cat("error: ", read.error().message, "\n");
}

}  // namespace fairlead::dataplane::ipt
