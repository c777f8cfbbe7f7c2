#include "dataplane/userspace/capture.h"

#include "base/text.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr std::array<std::string_view, 3> verdict_names = {"carry", "refuse", "drop"};
constexpr std::array<std::string_view, 3> source_names = {"node", "pods", "outside"};

template <class Enum>
std::string_view name_of(const std::array<std::string_view, 3>& names, Enum value) {
  const auto index = static_cast<size_t>(value);
  return index < names.size() ? names[index] : "unknown";  // the kernel may hold anything
}

std::string verdicts_text(const Verdicts& verdicts) {
  const auto& by_source = verdicts.by_source;
  std::string out(name_of(verdict_names, by_source[0]));
  if (by_source[1] != by_source[0] || by_source[2] != by_source[0]) {
    out = "";
    for (size_t i = 0; i < by_source.size(); ++i) {
      out += cat(i == 0 ? "" : ", ", source_names[i], " ", name_of(verdict_names, by_source[i]));
    }
  }
  return cat(out, verdicts.guarded ? ", guarded" : "");
}

}  // namespace

std::string to_text(const CaptureKey& key) {
  if (const auto* flow = std::get_if<FlowKey>(&key)) return cat("captured ", flow->to_string());
  if (const auto* vip = std::get_if<Vip>(&key)) return cat("vip ", vip->ip.to_string());
  if (const auto* source = std::get_if<Cidr>(&key)) return cat("source ", source->to_string());
  const auto& admitted = std::get<Admitted>(key);
  return cat("admitted ", admitted.from.to_string(), " to ", admitted.to.to_string());
}

std::string to_text(const CaptureKey& key, const CaptureValue& value) {
  if (const auto* verdicts = std::get_if<Verdicts>(&value)) {
    return cat(to_text(key), " -> ", verdicts_text(*verdicts));
  }
  if (const auto* source = std::get_if<SourceClass>(&value)) {
    return cat(to_text(key), " is ", name_of(source_names, *source));
  }
  return to_text(key);
}

}  // namespace fairlead::dataplane::userspace
