// Owners of libnl objects, for the netlink .cc files of this room.
#pragma once

#include <netlink/addr.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/route.h>

#include <memory>
#include <vector>

#include "base/result.h"
#include "net/netlink.h"

namespace fairlead::net {

template <auto Free>
struct NlFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using NlSocket = std::unique_ptr<nl_sock, NlFree<nl_socket_free>>;
using NlCache = std::unique_ptr<nl_cache, NlFree<nl_cache_free>>;
using NlAddr = std::unique_ptr<nl_addr, NlFree<nl_addr_put>>;
using NlLink = std::unique_ptr<rtnl_link, NlFree<rtnl_link_put>>;
using NlIfAddr = std::unique_ptr<rtnl_addr, NlFree<rtnl_addr_put>>;
using NlRoute = std::unique_ptr<rtnl_route, NlFree<rtnl_route_put>>;

Result<NlSocket> open_route_socket();
Result<std::vector<LinkInfo>> list_links(nl_sock* socket);
LinkInfo to_link_info(rtnl_link* link);

}  // namespace fairlead::net
