// The agent's side of bpf/shared/marks.h: keeps the marks that let tc programs pass most packets
// after one look.
#pragma once

#include "bpf/shared/marks.h"
#include "dataplane/ebpf/maps.h"

namespace fairlead::dataplane::ebpf {

// Belongs to one thread; programs write to the same memory, which outlives it.
class Marks {
 public:
  explicit Marks(fl_marks& memory) : memory_(memory) {}

  // Until the next refresh() every packet is looked at.
  void suspend() { set_everything(true); }
  // An entry of any map: marks the packets for which it can matter.
  void add(MapId map, const std::byte* key, const std::byte* value);
  // Marks what the maps hold and forgets what they have not held for the last two times. An errno
  // leaves everything suspended.
  int refresh(const Maps& maps);
  size_t used() const;  // slots

 private:
  void set(uint32_t slot);
  void set_address(const fl_ip& ip);
  void set_everything(bool on);
  void add_range(const fl_cidr& cidr);
  void forget_older(uint8_t than, uint8_t and_than);

  fl_marks& memory_;
  bool too_wide_ = false;  // a range has more blocks than are worth marking
};

// Marks what is written before it is written. Both outlive it.
class MarkingMaps final : public Maps {
 public:
  MarkingMaps(Maps& base, Marks& marks) : base_(base), marks_(marks) {}

  WriteOutcome update(MapId map, Bytes keys, Bytes values) override;
  WriteOutcome erase(MapId map, Bytes keys) override { return base_.erase(map, keys); }
  int each(MapId map, const Visit& visit) const override { return base_.each(map, visit); }
  int get(MapId map, const std::byte* key, std::byte* value) const override {
    return base_.get(map, key, value);
  }
  size_t capacity(MapId map) const override { return base_.capacity(map); }

 private:
  Maps& base_;
  Marks& marks_;
};

}  // namespace fairlead::dataplane::ebpf
