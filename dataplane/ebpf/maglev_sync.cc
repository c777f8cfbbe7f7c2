#include "dataplane/ebpf/maglev_sync.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "dataplane/ebpf/map_codec.h"
#include "dataplane/maglev.h"

namespace fairlead::dataplane::ebpf {

Result<void> MaglevSync::load() {
  const int error = each_entry<uint32_t, fl_maglev>(
      maps_, MapId::maglev, [&](uint32_t list, const fl_maglev& table) {
        held_[list] = std::make_unique<fl_maglev>(table);
      });
  if (error != 0) return fail(cat("cannot read the maglev map: ", std::strerror(error)));
  return {};
}

int MaglevSync::write(uint32_t list, std::span<const fl_backend> slots, size_t& writes) {
  std::vector<SocketAddress> backends;
  for (const fl_backend& slot : slots) backends.push_back({from_map(slot.ip), to_host(slot.port)});
  auto table = std::make_unique<fl_maglev>();
  std::ranges::copy(maglev_table(backends, FL_MAGLEV_SIZE), table->slot);
  table->list = list;
  const auto held = held_.find(list);
  if (held != held_.end() && same_bytes(*held->second, *table)) return 0;
  ++writes;
  const WriteOutcome outcome =
      maps_.update(MapId::maglev, std::as_bytes(std::span(&list, 1)),
                   std::as_bytes(std::span<const fl_maglev>(table.get(), 1)));
  if (outcome.error == 0) held_[list] = std::move(table);
  return outcome.error;
}

int MaglevSync::erase(uint32_t list, size_t& writes) {
  const auto held = held_.find(list);
  if (held == held_.end()) return 0;
  ++writes;
  const WriteOutcome outcome = maps_.erase(MapId::maglev, std::as_bytes(std::span(&list, 1)));
  if (outcome.error == 0) held_.erase(held);
  return outcome.error;
}

std::vector<uint32_t> MaglevSync::lists() const {
  std::vector<uint32_t> lists;
  for (const auto& [list, table] : held_) lists.push_back(list);
  return lists;
}

void MaglevSync::each(const Maps::Visit& visit) const {
  for (const auto& [list, table] : held_) {
    visit(reinterpret_cast<const std::byte*>(&list),
          reinterpret_cast<const std::byte*>(table.get()));
  }
}

}  // namespace fairlead::dataplane::ebpf
