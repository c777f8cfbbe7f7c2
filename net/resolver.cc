#include "net/resolver.h"

#include <ares.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "base/text.h"
#include "net/crypto.h"
#include "net/socket.h"

namespace fairlead::net {
namespace {

constexpr size_t header_bytes = 12;  // RFC 1035 4.1.1

// One c-ares channel on the loop: its sockets as watches, its time-outs as a tick.
class Channel {
 public:
  // `flags` are ARES_FLAG_*. `after` runs when c-ares has been given a chance to finish queries.
  Channel(EventLoop& loop, const Resolver::Options& options, int flags, std::function<void()> after)
      : loop_(loop), after_(std::move(after)) {
    using std::chrono::milliseconds;
    tick_ = std::clamp<Duration>(options.timeout / 8, milliseconds(5), milliseconds(250));
    ares_options ares{};
    ares.flags = flags;
    ares.timeout = static_cast<int>(
        std::max<int64_t>(1, std::chrono::duration_cast<milliseconds>(options.timeout).count()));
    ares.tries = std::max(1, options.tries);
    ares.sock_state_cb = on_socket;
    ares.sock_state_cb_data = this;
    char lookups[] = "fb";  // hosts file, then DNS
    ares.lookups = lookups;
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
               ARES_OPT_LOOKUPS;
    mask |= options.rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE;
    status_ = ares_init_options(&channel_, &ares, mask);
    if (status_ == ARES_SUCCESS && !options.servers.empty()) set_servers(options.servers);
  }
  ~Channel() {
    if (channel_ != nullptr) ares_destroy(channel_);
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  ares_channel get() const { return channel_; }
  int status() const { return status_; }

  void query_started() {
    ++outstanding_;
    if (!timer_) arm();
  }
  void query_ended() { --outstanding_; }

 private:
  void set_servers(const std::vector<SocketAddress>& servers) {
    std::vector<ares_addr_port_node> nodes(servers.size());
    for (size_t i = 0; i < servers.size(); ++i) {
      ares_addr_port_node& node = nodes[i];
      node.next = i + 1 < servers.size() ? &nodes[i + 1] : nullptr;
      node.udp_port = node.tcp_port = servers[i].port;
      if (servers[i].ip.is_v4()) {
        node.family = AF_INET;
        node.addr.addr4.s_addr = htonl(servers[i].ip.to_v4());
      } else {
        node.family = AF_INET6;
        std::memcpy(&node.addr.addr6, servers[i].ip.bytes.data(), 16);
      }
    }
    status_ = ares_set_servers_ports(channel_, nodes.data());
  }

  static void on_socket(void* self, ares_socket_t fd, int readable, int writable) {
    static_cast<Channel*>(self)->watch(fd, readable != 0, writable != 0);
  }

  void watch(int fd, bool readable, bool writable) {
    const uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
    if (events == 0) {
      watches_.erase(fd);
      return;
    }
    Watch& held = watches_[fd];
    if (held) return held.set_events(events);
    held = loop_.watch(fd, events, [this, fd](uint32_t ready) {
      const bool in = (ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
      ares_process_fd(channel_, in ? fd : ARES_SOCKET_BAD,
                      (ready & EPOLLOUT) != 0 ? fd : ARES_SOCKET_BAD);
      after_();  // may destroy this
    });
  }

  // A tick, not ares_timeout(): that one looks at every query there is, each time.
  void arm() {
    timer_ = loop_.after(tick_, [this] {
      ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
      if (outstanding_ > 0) arm();
      after_();
    });
  }

  EventLoop& loop_;
  std::function<void()> after_;
  ares_channel channel_ = nullptr;
  int status_ = ARES_SUCCESS;
  Duration tick_;
  size_t outstanding_ = 0;
  std::unordered_map<int, Watch> watches_;
  Timer timer_;
};

bool is_truncated(std::string_view message) {
  // c-ares reads at most 4097 bytes of a datagram: one that fills them was longer.
  constexpr size_t ares_datagram_bytes = 4097;
  return message.size() >= ares_datagram_bytes ||
         (message.size() >= header_bytes && (static_cast<unsigned char>(message[2]) & 0x02) != 0);
}

std::vector<Ip> to_ips(const ares_addrinfo& info) {
  std::vector<Ip> ips;
  for (const ares_addrinfo_node* node = info.nodes; node != nullptr; node = node->ai_next) {
    sockaddr_storage raw{};
    std::memcpy(&raw, node->ai_addr, std::min<size_t>(node->ai_addrlen, sizeof raw));
    const Ip ip = from_raw(raw).ip;
    if (std::ranges::find(ips, ip) == ips.end()) ips.push_back(ip);
  }
  return ips;
}

// Letters, digits, '-', '_' and dots (RFC 1123 2.1, and the underscore that is in use).
bool is_host_name(std::string_view host) {
  constexpr size_t max_name_bytes = 254;  // RFC 1035 2.3.4 as text, with a trailing dot
  return !host.empty() && host.size() <= max_name_bytes &&
         std::ranges::all_of(host, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

// Three channels, made when first needed: names (with EDNS and the hosts file), raw queries over
// UDP, and raw queries over TCP. Results wait in `finished` for deliver().
struct Resolver::Impl {
  struct Lookup {
    Impl* self;
    std::string host;
    Addresses callback;
  };
  struct RawQuery {
    Impl* self;
    Channel* channel;
    std::string query;      // with the random id
    char id[2];             // the caller's
    std::string truncated;  // what came over UDP
    Answer callback;
  };

  Impl(EventLoop& event_loop, Options the_options)
      : loop(event_loop), options(std::move(the_options)) {}
  ~Impl() {
    if (destroyed != nullptr) *destroyed = true;
    ending = true;  // c-ares now ends each query: they are freed without calling back
    names.reset();
    udp.reset();
    tcp.reset();
  }

  Channel& channel(std::unique_ptr<Channel>& held, int flags) {
    if (!held) {
      held = std::make_unique<Channel>(loop, options, flags, [this] { deliver(); });
    }
    return *held;
  }
  // Raw answers are the caller's to judge (NOCHECKRESP), and truncation is handled here (IGNTC):
  // c-ares by itself would take any UDP answer above 512 bytes for truncated.
  Channel& udp_channel() { return channel(udp, ARES_FLAG_IGNTC | ARES_FLAG_NOCHECKRESP); }
  Channel& tcp_channel() {
    return channel(tcp, ARES_FLAG_USEVC | ARES_FLAG_STAYOPEN | ARES_FLAG_NOCHECKRESP);
  }
  Channel& name_channel() {
    return channel(names, ARES_FLAG_EDNS | (options.force_tcp ? ARES_FLAG_USEVC : 0));
  }

  void finish_soon(std::move_only_function<void()> callback) {
    finished.push_back(std::move(callback));
    if (!kick) kick = loop.after(Duration::zero(), [this] { deliver(); });
  }

  // Callbacks run here and nowhere else, so never below c-ares, which could not bear its channel
  // being destroyed under it.
  void deliver() {
    std::vector<std::move_only_function<void()>> ready;
    ready.swap(finished);
    bool gone = false;
    destroyed = &gone;
    for (auto& callback : ready) {
      callback();
      if (gone) return;
    }
    destroyed = nullptr;
  }

  static void on_addresses(void* argument, int status, int, ares_addrinfo* info) {
    const std::unique_ptr<Lookup> lookup(static_cast<Lookup*>(argument));
    Impl& self = *lookup->self;
    std::vector<Ip> ips;
    if (info != nullptr) {
      ips = to_ips(*info);
      ares_freeaddrinfo(info);
    }
    if (self.ending) return;
    self.names->query_ended();
    Result<std::vector<Ip>> result = std::move(ips);
    if (status != ARES_SUCCESS || result->empty()) {
      result = fail(cat("cannot resolve \"", lookup->host,
                        "\": ", ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status)));
    }
    self.finish_soon([callback = std::move(lookup->callback),
                      result = std::move(result)]() mutable { callback(std::move(result)); });
  }

  static void start_raw(std::unique_ptr<RawQuery> query, Channel& channel) {
    query->channel = &channel;
    channel.query_started();
    RawQuery* raw = query.release();  // c-ares calls back once, also at its end
    ares_send(channel.get(), reinterpret_cast<const unsigned char*>(raw->query.data()),
              static_cast<int>(raw->query.size()), on_answer, raw);
  }

  static void on_answer(void* argument, int status, int, unsigned char* bytes, int size) {
    std::unique_ptr<RawQuery> query(static_cast<RawQuery*>(argument));
    Impl& self = *query->self;
    if (self.ending) return;
    query->channel->query_ended();
    std::string answer;
    if (status == ARES_SUCCESS && bytes != nullptr) {
      answer.assign(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
    if (query->channel == self.udp.get() && is_truncated(answer)) {
      query->truncated = std::move(answer);
      // Not from inside c-ares' own callback.
      self.finish_soon([&self, held = std::move(query)]() mutable {
        start_raw(std::move(held), self.tcp_channel());
      });
      return;
    }
    if (answer.size() < header_bytes) answer = std::move(query->truncated);
    Result<std::string> result = std::move(answer);
    if (result->size() < header_bytes) {
      result = fail(cat("no answer from the upstream DNS servers: ", ares_strerror(status)));
    } else {
      (*result)[0] = query->id[0];
      (*result)[1] = query->id[1];
    }
    self.finish_soon([callback = std::move(query->callback), result = std::move(result)]() mutable {
      callback(std::move(result));
    });
  }

  EventLoop& loop;
  Options options;
  std::unique_ptr<Channel> names, udp, tcp;
  std::vector<std::move_only_function<void()>> finished;
  Timer kick;
  bool ending = false;
  bool* destroyed = nullptr;
};

Resolver::Resolver(EventLoop& loop) : Resolver(loop, Options{}) {}

Resolver::Resolver(EventLoop& loop, Options options)
    : impl_(std::make_unique<Impl>(loop, std::move(options))) {}

Resolver::~Resolver() = default;

void Resolver::resolve(std::string_view host, Addresses callback) {
  if (const auto ip = Ip::parse(host)) {
    return impl_->finish_soon([callback = std::move(callback), ip] { callback({{*ip}}); });
  }
  Channel& channel = impl_->name_channel();
  std::string problem;
  if (channel.status() != ARES_SUCCESS) problem = ares_strerror(channel.status());
  if (!is_host_name(host)) problem = "not a host name";
  if (!problem.empty()) {
    return impl_->finish_soon(
        [callback = std::move(callback), problem, name = std::string(host.substr(0, 255))] {
          callback(fail(cat("cannot resolve \"", name, "\": ", problem)));
        });
  }
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  channel.query_started();
  auto* lookup = new Impl::Lookup{impl_.get(), std::string(host), std::move(callback)};
  ares_getaddrinfo(channel.get(), lookup->host.c_str(), nullptr, &hints, Impl::on_addresses,
                   lookup);
}

void Resolver::query_raw(std::string_view wire_query, Answer callback) {
  Channel& channel = impl_->options.force_tcp ? impl_->tcp_channel() : impl_->udp_channel();
  std::string problem;
  if (channel.status() != ARES_SUCCESS) problem = ares_strerror(channel.status());
  if (wire_query.size() < header_bytes || wire_query.size() > max_message_bytes) {
    problem = cat("a DNS message has ", header_bytes, " to ", max_message_bytes,
                  " bytes, this one ", wire_query.size());
  }
  if (!problem.empty()) {
    return impl_->finish_soon([callback = std::move(callback), problem] {
      callback(fail(cat("cannot forward a DNS query: ", problem)));
    });
  }
  auto query = std::make_unique<Impl::RawQuery>();
  query->self = impl_.get();
  query->query = std::string(wire_query);
  query->id[0] = wire_query[0];
  query->id[1] = wire_query[1];
  query->query.replace(0, 2, random_bytes(2));
  query->callback = std::move(callback);
  Impl::start_raw(std::move(query), channel);
}

}  // namespace fairlead::net
