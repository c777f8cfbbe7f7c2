#include "dataplane/ipvs/rule_sync.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::dataplane::ipvs {
namespace {

// A gate that opens for a key which the kernel knows must wait for the destinations.
bool loosens(const std::string& to) { return to == "goto open"; }

template <class Visit>
void for_each_element(const Elements& elements, Visit visit) {
  for (const auto& [set, members] : elements) {
    for (const auto& [key, value] : members) visit(set, key, value);
  }
}

// Of a service without a claim.
Elements refusal_of(const ServiceKey& key) {
  Claim refused;
  refused.gate = Gate::refuse;
  Elements elements;
  add_claim(elements, key, refused);
  return elements;
}

}  // namespace

void RuleSync::want(const std::string& set, const std::string& key, Value value) {
  stale_[set].try_emplace(key, wanted(set, key));
  if (value) {
    wanted_[set].insert_or_assign(key, *std::move(value));
  } else if (const auto members = wanted_.find(set); members != wanted_.end()) {
    members->second.erase(key);
  }
}

RuleSync::Value RuleSync::wanted(const std::string& set, const std::string& key) const {
  const auto members = wanted_.find(set);
  if (members == wanted_.end()) return std::nullopt;
  const auto member = members->second.find(key);
  return member == members->second.end() ? Value() : Value(member->second);
}

RuleSync::Value RuleSync::held(const std::string& set, const std::string& key) const {
  if (const auto members = stale_.find(set); members != stale_.end()) {
    const auto member = members->second.find(key);
    if (member != members->second.end()) return member->second;
  }
  return wanted(set, key);
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
    want(set, key, there ? Value("") : std::nullopt);
  });
}

void RuleSync::set_draining(const ServiceKey& key, bool draining) {
  for_each_element(refusal_of(key), [&](const auto& set, const auto& one, const auto& value) {
    if (draining != wanted(set, one).has_value()) want(set, one, draining ? Value(value) : Value());
  });
}

Result<void> RuleSync::load() {
  FL_TRY(auto table, runner_.read_table(options_.table));
  missing_ = !table;
  rule_differences_.clear();
  refresh_.clear();
  if (table && layout_) rule_differences_ = layout_->differences(*table);
  if (!rule_differences_.empty() && layout_->can_refresh(*table)) {
    refresh_ = layout_->refresh(*table);
  }
  nft::Comparison comparison(table ? *std::move(table) : NftTable());
  for_each_element(wanted_, [&](const auto& set, const auto& key, const auto& value) {
    comparison.want(set, key, value);
  });
  stale_.clear();
  for (auto& one : comparison.finish()) {
    stale_[one.set].emplace(std::move(one.key), std::move(one.held));
  }
  return {};
}

std::set<ServiceKey> RuleSync::own() const {
  std::set<ServiceKey> out;
  const auto add = [&](const std::string& text) {
    if (const auto key = parse_key(text)) out.insert(*key);
  };
  for (const std::string map : {"filter4", "filter6"}) {
    const auto changed = stale_.find(map);
    if (changed != stale_.end()) {
      for (const auto& [key, value] : changed->second) {
        if (value) add(key);
      }
    }
    const auto members = wanted_.find(map);
    if (members == wanted_.end()) continue;
    for (const auto& [key, value] : members->second) {
      if (changed == stale_.end() || !changed->second.contains(key)) add(key);
    }
  }
  return out;
}

Result<size_t> RuleSync::replace(std::string_view reason) {
  if (!reason.empty()) {
    log_.warn("replacing the table", {{"table", options_.table}, {"reason", reason}});
  }
  // Services that are to go stay ours until they have gone, also for a run that comes after this.
  nft::ElementLists leaving;
  decltype(stale_) stale;
  for (const ServiceKey& key : own()) {
    for_each_element(refusal_of(key), [&](const auto& set, const auto& one, const auto& value) {
      if (wanted(set, one)) return;
      leaving.put(set, one, value);
      stale[set].emplace(one, value);
    });
  }
  FL_TRY_VOID(runner_.run(layout_->replace(wanted_) + layout_->change({}, leaving)));
  size_t size = leaving.size();
  for_each_element(wanted_, [&](const auto&, const auto&, const auto&) { ++size; });
  stale_ = std::move(stale);
  return size;
}

template <class Now>
Result<size_t> RuleSync::send(const std::string& first, Now now) {
  nft::ElementLists remove, add;
  std::vector<std::pair<Value*, Value>> sent;
  for (auto& [set, members] : stale_) {
    for (auto& [key, from] : members) {
      Value to = wanted(set, key);
      if (from == to || !now(from, to)) continue;
      // Of an element that changes, the old value goes and the new one comes at once.
      if (from) remove.put(set, key);
      if (to) add.put(set, key, *to);
      sent.emplace_back(&from, std::move(to));
    }
  }
  if (sent.empty() && first.empty()) return 0;
  FL_TRY_VOID(runner_.run(first + layout_->change(remove, add)));
  for (auto& [from, to] : sent) *from = std::move(to);
  const auto commands = static_cast<size_t>(std::count(first.begin(), first.end(), '\n'));
  return commands + remove.size() + add.size();
}

Result<size_t> RuleSync::before() {
  const auto tightens = [](const Value& from, const Value& to) {
    return to && (!from || !loosens(*to));
  };
  std::string reason = join(rule_differences_, "; ");
  Result<size_t> sent = 0;
  if (missing_ || (!reason.empty() && refresh_.empty())) {
    sent = replace(reason);
  } else {
    if (!reason.empty()) {
      log_.warn("making the rules again", {{"table", options_.table}, {"reason", reason}});
    }
    sent = send(refresh_, tightens);
    if (!sent && !refresh_.empty()) sent = replace(sent.error().message);
  }
  if (!sent) return sent;
  missing_ = false;
  rule_differences_.clear();
  refresh_.clear();
  return sent;
}

Result<size_t> RuleSync::after() {
  const auto sent = send("", [](const Value&, const Value&) { return true; });
  if (sent) stale_.clear();
  return sent;
}

std::vector<Drift> RuleSync::drifts() const {
  const std::string owner = nft::likely_owner(runner_, options_.table);
  if (missing_) return {{cat("table inet ", options_.table, " is missing"), owner}};
  std::vector<nft::Difference> elements;
  for (const auto& [set, members] : stale_) {
    for (const auto& [key, from] : members) {
      Value to = wanted(set, key);
      if (from != to) elements.push_back({set, key, from, std::move(to)});
    }
  }
  return nft::drifts_of(rule_differences_, elements, owner);
}

std::vector<std::string> RuleSync::lines(const ServiceKey& key) const {
  std::vector<std::string> out;
  Elements names;
  add_claim(names, key, Claim{});
  for_each_element(names, [&](const auto& set, const auto& element, const auto&) {
    const Value value = held(set, element);
    if (!value) return;
    out.push_back(cat("nft inet ", options_.table, " ", set, " { ", element, " : ", *value, " }"));
  });
  return out;
}

Result<void> RuleSync::remove_table() {
  FL_TRY_VOID(runner_.run(nft::remove_table_commands(options_.table)));
  stale_.clear();
  return {};
}

Result<void> RuleSync::remove_hooks() {
  return layout_ ? runner_.run(layout_->remove_hooks()) : Result<void>();
}

std::string RuleSync::dump() const {
  const auto table = runner_.read_table(options_.table);
  if (!table) return cat("error: ", table.error().message, "\n");
  if (!*table) return "";
  std::set<std::string> lines;
  for_each_element((*table)->sets, [&](const auto& set, const auto& key, const auto& value) {
    lines.insert(cat(set, " ", key, value.empty() ? "" : " : ", value, "\n"));
  });
  std::string out;
  for (const std::string& line : lines) append(out, line);
  return out;
}

}  // namespace fairlead::dataplane::ipvs
