#include "dataplane/nftables/table_reader.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "base/text.h"
#include "dataplane/nftables/set_shape.h"

namespace fairlead::dataplane::nft {
namespace {

using net::find_attribute;
using net::NfMessage;

NfMessage message(uint8_t type, uint16_t flags = NLM_F_DUMP) {
  return {NFNL_SUBSYS_NFTABLES, type, flags, NFPROTO_INET};
}

std::string text_of(std::string_view attributes, uint16_t type) {
  return std::string(net::attribute_text(find_attribute(attributes, type).value_or("")));
}

uint32_t number_of(std::string_view attributes, uint16_t type) {
  uint32_t number = 0;
  const auto bytes = find_attribute(attributes, type);
  if (bytes && bytes->size() == sizeof number) std::memcpy(&number, bytes->data(), sizeof number);
  return ntohl(number);
}

std::unexpected<Error> refused(std::string_view what, const std::string& table, int error) {
  return fail(cat("nf_tables: cannot list ", what, " of ", table, ": ", std::strerror(error)));
}

// Reads one table. An errno other than 0 ends each step; EINTR says that the ruleset changed.
class Reader {
 public:
  Reader(net::Nfnetlink& socket, const std::string& name) : socket_(socket), name_(name) {}

  Result<uint32_t> generation() {
    NfMessage request = message(NFT_MSG_GETGEN, 0);
    uint32_t id = 0;
    FL_TRY(const int error, socket_.request(request, [&](uint8_t, std::string_view attributes) {
      id = number_of(attributes, NFTA_GEN_ID);
    }));
    if (error != 0) return refused("the generation", name_, error);
    return id;
  }

  Result<bool> exists() {
    NfMessage request = message(NFT_MSG_GETTABLE, 0);
    request.put_text(NFTA_TABLE_NAME, name_);
    FL_TRY(const int error, socket_.request(request));
    if (error == ENOENT) return false;
    if (error != 0) return refused("the table", name_, error);
    return true;
  }

  Result<int> chains(NftTable& table) {
    NfMessage request = message(NFT_MSG_GETCHAIN);
    FL_TRY(const int error, socket_.dump(request, [&](uint8_t, std::string_view attributes) {
      if (text_of(attributes, NFTA_CHAIN_TABLE) == name_) {
        table.chains[text_of(attributes, NFTA_CHAIN_NAME)];
      }
    }));
    if (error != 0) return error;
    NfMessage rules = message(NFT_MSG_GETRULE);
    rules.put_text(NFTA_RULE_TABLE, name_);
    return socket_.dump(rules, [&](uint8_t, std::string_view attributes) {
      if (text_of(attributes, NFTA_RULE_TABLE) == name_) {
        ++table.chains[text_of(attributes, NFTA_RULE_CHAIN)];
      }
    });
  }

  Result<int> sets(NftTable& table) {
    NfMessage request = message(NFT_MSG_GETSET);
    request.put_text(NFTA_SET_TABLE, name_);
    std::map<std::string, SetShape> shapes;
    FL_TRY(int error, socket_.dump(request, [&](uint8_t, std::string_view attributes) {
      // Anonymous ones are a part of their rule.
      const uint32_t left_out = NFT_SET_EVAL | NFT_SET_ANONYMOUS;
      const bool read = (number_of(attributes, NFTA_SET_FLAGS) & left_out) == 0;
      if (read && text_of(attributes, NFTA_SET_TABLE) == name_) {
        shapes.emplace(text_of(attributes, NFTA_SET_NAME), shape_in(attributes));
      }
    }));
    for (const auto& [set, shape] : shapes) {
      if (error != 0) break;
      FL_TRY(error, elements(set, shape, table.sets[set]));
    }
    return error;
  }

  // One set; ENOENT: there is none.
  Result<int> set(const std::string& name, NftSet& into) {
    NfMessage request = message(NFT_MSG_GETSET, 0);
    request.put_text(NFTA_SET_TABLE, name_);
    request.put_text(NFTA_SET_NAME, name);
    SetShape shape;
    FL_TRY(const int error, socket_.request(request, [&](uint8_t, std::string_view attributes) {
      shape = shape_in(attributes);
    }));
    return error == 0 ? elements(name, shape, into) : Result<int>(error);
  }

  // Nothing: the ruleset changed meanwhile.
  Result<std::optional<NftTable>> table() {
    NftTable table;
    FL_TRY(const uint32_t before, generation());
    FL_TRY(int error, chains(table));
    if (error == 0) {
      FL_TRY(error, sets(table));
    }
    FL_TRY(const uint32_t after, generation());
    if (error == EINTR || error == ENOENT || before != after) return std::optional<NftTable>();
    if (error != 0) return refused("the content", name_, error);
    return std::optional(std::move(table));
  }

 private:
  // Of somebody else's set: nothing, and its elements are hexadecimal digits.
  static SetShape shape_in(std::string_view attributes) {
    return shape_of(number_of(attributes, NFTA_SET_KEY_TYPE),
                    number_of(attributes, NFTA_SET_DATA_TYPE),
                    number_of(attributes, NFTA_SET_FLAGS))
        .value_or(SetShape());
  }

  Result<int> elements(const std::string& set, const SetShape& shape, NftSet& into) {
    NfMessage request = message(NFT_MSG_GETSETELEM);
    request.put_text(NFTA_SET_ELEM_LIST_TABLE, name_);
    request.put_text(NFTA_SET_ELEM_LIST_SET, set);
    std::vector<std::pair<std::string, bool>> ends;
    FL_TRY(const int error, socket_.dump(request, [&](uint8_t, std::string_view attributes) {
      const auto list = find_attribute(attributes, NFTA_SET_ELEM_LIST_ELEMENTS);
      net::for_each_attribute(list.value_or(""), [&](uint16_t, std::string_view one) {
        ReadElement element = read_element(shape, one);
        if (shape.interval) {
          ends.emplace_back(std::move(element.key), element.interval_end);
        } else {
          into.emplace(std::move(element.key), std::move(element.value));
        }
      });
    }));
    if (!shape.interval) return error;
    for (std::string& interval : join_intervals(shape, std::move(ends))) {
      into.emplace(std::move(interval), "");
    }
    return error;
  }

  net::Nfnetlink& socket_;
  const std::string& name_;
};

std::string_view family_name(uint8_t family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_ARP:
      return "arp";
    case NFPROTO_BRIDGE:
      return "bridge";
    case NFPROTO_NETDEV:
      return "netdev";
    default:
      return "?";
  }
}

}  // namespace

Result<std::optional<NftTable>> read_table(net::Nfnetlink& socket, const std::string& name) {
  Reader reader(socket, name);
  for (int i = 0; i < max_reads; ++i) {
    FL_TRY(const bool exists, reader.exists());
    if (!exists) return std::optional<NftTable>();
    FL_TRY(auto table, reader.table());
    if (table) return table;
  }
  return fail(
      cat("nf_tables: the ruleset changed ", max_reads, " times while ", name, " was read"));
}

Result<NftSet> read_set(net::Nfnetlink& socket, const std::string& table, const std::string& set) {
  Reader reader(socket, table);
  for (int i = 0; i < max_reads; ++i) {
    NftSet elements;
    FL_TRY(const int error, reader.set(set, elements));
    if (error == ENOENT) return NftSet();
    if (error == 0) return elements;
    if (error != EINTR) return refused(cat("set ", set), table, error);
  }
  return fail(cat("nf_tables: set ", set, " changed ", max_reads, " times while it was read"));
}

Result<std::vector<std::string>> other_tables(net::Nfnetlink& socket, const std::string& ours) {
  std::set<std::string> names;
  NfMessage request(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE, NLM_F_DUMP, NFPROTO_UNSPEC);
  FL_TRY(const int error, socket.dump(request, [&](uint8_t family, std::string_view attributes) {
    const std::string name = text_of(attributes, NFTA_TABLE_NAME);
    if (family != NFPROTO_INET || name != ours) names.insert(cat(family_name(family), " ", name));
  }));
  if (error != 0 && error != EINTR) return refused("the tables beside", ours, error);
  return std::vector<std::string>(names.begin(), names.end());
}

}  // namespace fairlead::dataplane::nft
