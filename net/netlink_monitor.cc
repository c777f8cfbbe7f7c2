// LinkMonitor, the watching half of net/netlink.h.
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <sys/epoll.h>

#include <map>

#include "base/text.h"
#include "net/netlink_handles.h"

namespace fairlead::net {

// `known` is what has been reported; notifications and lists are both compared with it, so that a
// link is never reported twice for the same state, whichever of the two told of it.
struct LinkMonitor::Impl {
  Impl(EventLoop& event_loop, Callback the_callback)
      : loop(event_loop), callback(std::move(the_callback)) {}
  ~Impl() {
    if (destroyed != nullptr) *destroyed = true;
  }

  Result<void> open() {
    FL_TRY(lister, open_route_socket());
    socket.reset(nl_socket_alloc());
    if (!socket) return fail("netlink socket: out of memory");
    nl_socket_disable_seq_check(socket.get());  // notifications carry none of ours
    nl_socket_modify_cb(socket.get(), NL_CB_VALID, NL_CB_CUSTOM, on_message, this);
    int error = nl_connect(socket.get(), NETLINK_ROUTE);
    if (error >= 0) error = nl_socket_add_membership(socket.get(), RTNLGRP_LINK);
    if (error >= 0) error = nl_socket_set_nonblocking(socket.get());
    if (error < 0) return fail(cat("cannot watch links: ", nl_geterror(error)));
    FL_TRY_VOID(relist());
    watch = loop.watch(nl_socket_get_fd(socket.get()), EPOLLIN, [this](uint32_t) { receive(); });
    first = loop.after(Duration::zero(), [this] { deliver(); });
    return {};
  }

  void receive() {
    bool lost = false;
    int error = 0;
    while (error >= 0 || error == -NLE_NOMEM) {
      error = nl_recvmsgs_default(socket.get());
      if (error < 0 && error != -NLE_AGAIN) lost = true;
    }
    // The kernel dropped notifications: what is known may be wrong, so look again. Not before the
    // queue is empty, since what is left in it is older than the list.
    if (lost) {
      [[maybe_unused]] const auto listed = relist();
    }
    deliver();
  }

  static int on_message(nl_msg* message, void* argument) {
    auto& self = *static_cast<Impl*>(argument);
    const nlmsghdr* header = nlmsg_hdr(message);
    const bool is_link = header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK;
    if (!is_link || nlmsg_datalen(header) < static_cast<int>(sizeof(ifinfomsg))) return NL_OK;
    // Bridges also send RTM_*LINK about a port's bridge state; those do not describe the link.
    if (static_cast<const ifinfomsg*>(nlmsg_data(header))->ifi_family != AF_UNSPEC) return NL_OK;
    nl_msg_parse(
        message,
        [](nl_object* object, void* impl) {
          auto& monitor = *static_cast<Impl*>(impl);
          const LinkInfo info = to_link_info(reinterpret_cast<rtnl_link*>(object));
          if (nl_object_get_msgtype(object) == RTM_DELLINK) {
            monitor.note_removed(info.index);
          } else {
            monitor.note(info);
          }
        },
        &self);
    return NL_OK;
  }

  void note(const LinkInfo& info) {
    const auto [found, is_new] = known.try_emplace(info.index, info);
    if (is_new) {
      events.emplace_back(Event::added, info);
    } else if (found->second != info) {
      found->second = info;
      events.emplace_back(Event::changed, info);
    }
  }

  void note_removed(int index) {
    const auto found = known.find(index);
    if (found == known.end()) return;
    events.emplace_back(Event::removed, found->second);
    known.erase(found);
  }

  Result<void> relist() {
    FL_TRY(const auto links, list_links(lister.get()));
    std::map<int, LinkInfo> current;
    for (const LinkInfo& info : links) current.emplace(info.index, info);
    std::vector<int> gone;
    for (const auto& [index, info] : known) {
      if (!current.contains(index)) gone.push_back(index);
    }
    for (const int index : gone) note_removed(index);
    for (const auto& [index, info] : current) note(info);
    return {};
  }

  void deliver() {
    std::vector<std::pair<Event, LinkInfo>> ready;
    ready.swap(events);
    bool gone = false;
    destroyed = &gone;
    for (const auto& [event, info] : ready) {
      callback(event, info);
      if (gone) return;
    }
    destroyed = nullptr;
  }

  EventLoop& loop;
  Callback callback;
  NlSocket lister;
  NlSocket socket;
  std::map<int, LinkInfo> known;  // by index
  std::vector<std::pair<Event, LinkInfo>> events;
  Watch watch;
  Timer first;
  bool* destroyed = nullptr;
};

LinkMonitor::LinkMonitor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LinkMonitor::~LinkMonitor() = default;

Result<std::unique_ptr<LinkMonitor>> LinkMonitor::open(EventLoop& loop, Callback callback) {
  auto impl = std::make_unique<Impl>(loop, std::move(callback));
  FL_TRY_VOID(impl->open());
  return std::unique_ptr<LinkMonitor>(new LinkMonitor(std::move(impl)));
}

}  // namespace fairlead::net
