#include "dataplane/nftables/drifts.h"

#include "base/text.h"

namespace fairlead::dataplane::nft {
namespace {

std::string mapped(const std::string& value) { return value.empty() ? "" : cat(" : ", value); }

std::string text_of(const Difference& one) {
  const std::string what = cat("set ", one.set, ": ", one.key);
  if (!one.held) return cat(what, mapped(*one.wanted), " is missing");
  if (!one.wanted) return cat(what, mapped(*one.held), " is foreign");
  return cat(what, " is ", *one.held, " instead of ", *one.wanted);
}

}  // namespace

std::vector<Drift> drifts_of(const Desired& desired, const Layout& layout,
                             std::optional<NftTable> kernel, const std::string& owner) {
  if (!kernel) return {{cat("table inet ", layout.table(), " is missing"), owner}};
  std::vector<Drift> out;
  for (const std::string& rule : rule_differences(*kernel, layout)) out.push_back({rule, owner});
  const auto elements = differences(desired, layout, std::move(*kernel));
  size_t named = 0;
  for (const Difference& one : elements) {
    if (named == max_drifts) break;
    out.push_back({text_of(one), owner});
    ++named;
  }
  if (named < elements.size()) {
    out.push_back({cat("and ", elements.size() - named, " more elements"), owner});
  }
  return out;
}

}  // namespace fairlead::dataplane::nft
