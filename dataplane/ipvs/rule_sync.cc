#include "dataplane/ipvs/rule_sync.h"

#include "base/text.h"

namespace fairlead::dataplane::ipvs {
namespace {

// nullptr: not there.
const std::string* find_element(const Elements& elements, const std::string& set,
                                const std::string& key) {
  const auto members = elements.find(set);
  if (members == elements.end()) return nullptr;
  const auto member = members->second.find(key);
  return member == members->second.end() ? nullptr : &member->second;
}

void erase_element(Elements& elements, const std::string& set, const std::string& key) {
  const auto members = elements.find(set);
  if (members == elements.end()) return;
  members->second.erase(key);
  if (members->second.empty()) elements.erase(members);
}

// A gate that opens for a key which the kernel knows must wait for the destinations.
bool loosens(const std::string& to) { return to == "goto open"; }

template <class Visit>
void for_each_element(const Elements& elements, Visit visit) {
  for (const auto& [set, members] : elements) {
    for (const auto& [key, value] : members) visit(set, key, value);
  }
}

}  // namespace

size_t RuleSync::Change::size() const {
  size_t size = 0;
  for (const auto& [set, members] : remove) size += members.size();
  for (const auto& [set, members] : add) size += members.size();
  return size;
}

void RuleSync::set_node(const NodeConfig& node) {
  RuleLayout layout(table_, node);
  if (!layout_ || layout_->label() != layout.label()) replace_ = true;
  layout_.emplace(std::move(layout));
}

void RuleSync::want(const std::string& set, const std::string& key,
                    std::optional<std::string> value) {
  touched_[set].insert(key);
  if (value) {
    wanted_[set][key] = std::move(*value);
  } else {
    erase_element(wanted_, set, key);
  }
}

void RuleSync::change_claim(const ServiceKey& key, const Claim* from, const Claim* to) {
  Elements elements;
  if (from != nullptr) {
    add_claim(elements, key, *from);
    for_each_element(elements, [&](const auto& set, const auto& one, const auto&) {
      want(set, one, std::nullopt);
    });
    elements.clear();
  }
  if (to != nullptr) add_claim(elements, key, *to);
  for_each_element(elements, [&](const auto& set, const auto& one, const auto& value) {
    want(set, one, value);
  });
}

void RuleSync::count(std::map<std::string, size_t>& users, const std::string& set,
                     const std::string& key, bool more) {
  if (more) {
    if (++users[key] == 1) want(set, key, "");
  } else if (const auto found = users.find(key); --found->second == 0) {
    users.erase(found);
    want(set, key, std::nullopt);
  }
}

void RuleSync::change_extras(const Extras* from, const Extras* to) {
  // The new ones first, so that what stays is never without a user.
  for (const Extras* extras : {to, from}) {
    if (extras == nullptr) continue;
    Elements elements;
    for (const Ip& ip : extras->hairpin) add_hairpin(elements, ip);
    if (extras->health_port != 0) add_health_port(elements, extras->health_port);
    for_each_element(elements, [&](const auto& set, const auto& key, const auto&) {
      count(set == "health" ? health_users_ : hairpin_users_, set, key, extras == to);
    });
  }
}

void RuleSync::set_vip(const Ip& ip, bool there) {
  Elements elements;
  add_vip(elements, ip);
  for_each_element(elements, [&](const auto& set, const auto& key, const auto&) {
    want(set, key, there ? std::optional<std::string>("") : std::nullopt);
  });
}

void RuleSync::set_draining(const ServiceKey& key, bool draining) {
  Claim refused;
  refused.gate = Gate::refuse;
  Elements elements;
  add_claim(elements, key, refused);
  for_each_element(elements, [&](const auto& set, const auto& one, const auto& value) {
    if (draining != (find_element(wanted_, set, one) != nullptr)) {
      want(set, one, draining ? std::optional(value) : std::nullopt);
    }
  });
}

Result<std::optional<RuleState>> RuleSync::read() const {
  FL_TRY(const auto listing, runner_.list_table(table_));
  if (!listing) return std::optional<RuleState>();
  auto state = parse_rules(*listing);
  if (!state) return fail(cat("table inet ", table_), state.error());
  return std::optional(std::move(*state));
}

Result<void> RuleSync::load() {
  FL_TRY(auto state, read());
  replace_ = !state || !layout_ || !layout_->matches(*state);
  held_ = state ? std::move(state->elements) : Elements();
  const auto touch = [&](const auto& set, const auto& key, const auto&) {
    touched_[set].insert(key);
  };
  for_each_element(held_, touch);
  for_each_element(wanted_, touch);
  return {};
}

Result<size_t> RuleSync::replace() {
  FL_TRY_VOID(runner_.run(layout_->replace(wanted_)));
  const Change all{{}, wanted_};
  // The keys of services that are to go stay ours until the next run of load().
  held_ = wanted_;
  replace_ = false;
  touched_.clear();
  return all.size();
}

Result<size_t> RuleSync::send(const Change& change) {
  if (change.size() == 0) return 0;
  // Of an element that changes, the old value goes and the new one comes at once.
  FL_TRY_VOID(runner_.run(layout_->remove(change.remove) + layout_->add(change.add)));
  for_each_element(change.remove, [&](const auto& set, const auto& key, const auto&) {
    erase_element(held_, set, key);
  });
  for_each_element(change.add, [&](const auto& set, const auto& key, const auto& value) {
    held_[set][key] = value;
  });
  return change.size();
}

Result<size_t> RuleSync::before() {
  if (replace_) return replace();
  Change change;
  for (const auto& [set, keys] : touched_) {
    for (const std::string& key : keys) {
      const std::string* from = find_element(held_, set, key);
      const std::string* to = find_element(wanted_, set, key);
      if (to == nullptr || (from != nullptr && (*from == *to || loosens(*to)))) continue;
      if (from != nullptr) change.remove[set][key];
      change.add[set][key] = *to;
    }
  }
  return send(change);
}

Result<size_t> RuleSync::after() {
  Change change;
  for (const auto& [set, keys] : touched_) {
    for (const std::string& key : keys) {
      const std::string* from = find_element(held_, set, key);
      const std::string* to = find_element(wanted_, set, key);
      if (from != nullptr && (to == nullptr || *from != *to)) change.remove[set][key];
      if (to != nullptr && (from == nullptr || *from != *to)) change.add[set][key] = *to;
    }
  }
  const auto sent = send(change);
  if (sent) touched_.clear();
  return sent;
}

std::vector<std::string> RuleSync::differences() const {
  std::vector<std::string> out;
  if (replace_) out.push_back("the rules are not those of fairlead");
  for_each_element(wanted_, [&](const auto& set, const auto& key, const auto& value) {
    const std::string* held = find_element(held_, set, key);
    if (held == nullptr || *held != value) {
      out.push_back(cat(set, " element ", key, held == nullptr ? " is missing" : " is changed"));
    }
  });
  for_each_element(held_, [&](const auto& set, const auto& key, const auto&) {
    if (find_element(wanted_, set, key) == nullptr) {
      out.push_back(cat(set, " element ", key, " belongs to nothing"));
    }
  });
  return out;
}

std::vector<std::string> RuleSync::lines(const ServiceKey& key) const {
  std::vector<std::string> out;
  Elements names;
  add_claim(names, key, Claim{});
  for_each_element(names, [&](const auto& set, const auto& element, const auto&) {
    const std::string* value = find_element(held_, set, element);
    if (value == nullptr) return;
    out.push_back(cat("nft inet ", table_, " ", set, " { ", element, " : ", *value, " }"));
  });
  return out;
}

Result<void> RuleSync::remove_table() {
  const RuleLayout layout(table_, NodeConfig());
  FL_TRY_VOID(runner_.run(layout.remove_table()));
  held_.clear();
  replace_ = true;
  return {};
}

Result<void> RuleSync::remove_hooks() {
  if (!layout_) return {};
  FL_TRY_VOID(runner_.run(layout_->remove_hooks()));
  replace_ = true;
  return {};
}

std::string RuleSync::dump() const {
  const auto state = read();
  if (!state) return cat("error: ", state.error().message, "\n");
  std::string out;
  if (!*state) return out;
  for_each_element((*state)->elements, [&](const auto& set, const auto& key, const auto& value) {
    append(out, cat(set, " ", key, value.empty() ? "" : " : ", value, "\n"));
  });
  return out;
}

}  // namespace fairlead::dataplane::ipvs
