#include "dataplane/userspace/udp_forwarder.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "dataplane/userspace/sockets.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr int batches_per_turn = 8;
constexpr Duration turns_last = std::chrono::minutes(10);

}  // namespace

size_t UdpForwarder::FlowHash::operator()(const FlowName& name) const noexcept {
  const std::hash<Ip> hash;
  const size_t ports = static_cast<size_t>(name.client.port) << 16 | name.dialled.port;
  return (hash(name.client.ip) * 31 + hash(name.dialled.ip)) ^ ports * 0x9e3779b97f4a7c15;
}

UdpForwarder::UdpForwarder(const Forwarding& with, int socket)
    : with_(with), socket_(socket), flows_(with.limits.max_udp_flows) {
  watch_ = with_.loop.watch(socket_, EPOLLIN, [this](uint32_t) { from_clients(); });
  sweeper_ = with_.loop.after(with_.limits.sweep, [this] { sweep(); });
}

UdpForwarder::~UdpForwarder() {
  flows_.clear();
  with_.metrics.udp_flows.set(0);
}

void UdpForwarder::from_clients() {
  const auto table = with_.table.load();
  for (int i = 0; i < batches_per_turn; ++i) {
    const int count = datagrams_.receive(socket_, true);
    if (count <= 0) break;  // an error of an earlier datagram concerns nobody here
    with_.metrics.datagrams.add(static_cast<uint64_t>(count));
    for (int k = 0; k < count; ++k) {
      const FlowName name{net::from_raw(datagrams_.sender(k).storage), datagrams_.dialled(k)};
      forward(*table, name, k);
    }
    if (count < static_cast<int>(Datagrams::most)) break;
  }
  with_.metrics.udp_flows.set(static_cast<int64_t>(flows_.size()));
}

void UdpForwarder::forward(const RoutingTable& table, const FlowName& name, int index) {
  Flow* flow = find_or_begin(table, name, index);
  if (flow == nullptr) return;
  const auto data = datagrams_.data(index);
  const auto send = [&] {
    return ::send(flow->socket.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
  };
  if (send()) return;
  // What an earlier datagram met is reported now; this one has not been sent.
  if (errno == ECONNREFUSED) {
    flow->refused = true;
    const Choice choice = choose_route(table, name.client.ip, {name.dialled, Protocol::udp});
    if (!choice.backends.empty() && choose_backend(choice, name, *flow) && send()) return;
  }
  with_.metrics.datagrams_lost.add();
}

// Whether the backend may go on to have this flow. A rule that has not changed needs no look.
bool UdpForwarder::still_right(const RoutingTable& table, const FlowName& name, Flow& flow) const {
  const FlowKey key{name.dialled, Protocol::udp};
  const Route* route = table.find(key);
  if (route == nullptr || flow.refused) return false;
  if (route->rule == flow.rule) return true;
  const auto backends = choose_route(table, name.client.ip, key).backends;
  if (std::find(backends.begin(), backends.end(), flow.backend) == backends.end()) return false;
  flow.rule = route->rule;
  return true;
}

UdpForwarder::Flow* UdpForwarder::find_or_begin(const RoutingTable& table, const FlowName& name,
                                                int index) {
  const MonoTime now = with_.clock.now();
  Flows::Entry* entry = flows_.find(name);
  if (entry != nullptr && still_right(table, name, entry->value)) {
    flows_.use(name, now);
    with_.balancer.seen(*entry->value.rule, name.client.ip);
    return &entry->value;
  }
  const Choice choice = choose_route(table, name.client.ip, {name.dialled, Protocol::udp});
  if (choice.backends.empty()) {
    with_.metrics.refused_policy.add();
    flows_.erase(name);
    return nullptr;
  }
  if (entry == nullptr) {
    auto answering = lease(name.dialled);
    if (!answering) {
      with_.metrics.refused_limit.add();
      return nullptr;
    }
    if (flows_.size() >= flows_.capacity()) with_.metrics.flows_evicted.add();
    Flow flow{std::move(*answering), datagrams_.sender(index), nullptr, {}, false, {}, {}};
    if (name.client.ip.is_v4()) flow.client = net::to_raw(name.client);  // not mapped into IPv6
    entry = &flows_.put(name, std::move(flow), now);
  }
  if (choose_backend(choice, name, entry->value)) return &entry->value;
  with_.metrics.refused_backend.add();
  flows_.erase(name);
  return nullptr;
}

bool UdpForwarder::choose_backend(const Choice& choice, const FlowName& name, Flow& flow) {
  const NamedRule& rule = *choice.route->rule;
  size_t index = with_.balancer.choose(rule, choice.backends, name.client.ip);
  // Affinity may say the one again that has just refused.
  if (flow.refused && choice.backends[index] == flow.backend) {
    index = (index + 1) % choice.backends.size();
    with_.balancer.remember(rule, name.client.ip, choice.backends[index]);
  }
  const Backend& backend = choice.backends[index];
  auto socket = connect_udp({backend.ip, backend.port});
  if (!socket) {
    with_.metrics.connect_failures.add();
    return false;
  }
  flow.watch.reset();
  flow.socket = std::move(*socket);
  flow.rule = choice.route->rule;
  flow.backend = backend;
  flow.refused = false;
  flow.watch =
      with_.loop.watch(flow.socket.get(), EPOLLIN, [this, name](uint32_t) { from_backend(name); });
  flows_.use(name, with_.clock.now());
  return true;
}

void UdpForwarder::from_backend(const FlowName& name) {
  Flows::Entry* entry = flows_.find(name);
  if (entry == nullptr) return;
  Flow& flow = entry->value;
  for (int i = 0; i < batches_per_turn; ++i) {
    const int count = datagrams_.receive(flow.socket.get(), false);
    if (count < 0 && errno == ECONNREFUSED) flow.refused = true;
    if (count <= 0) break;
    const int sent = datagrams_.send(flow.answering.fd(), count, flow.client);
    with_.metrics.datagrams_lost.add(static_cast<uint64_t>(count - sent));
    flows_.use(name, with_.clock.now());
    if (count < static_cast<int>(Datagrams::most)) break;
  }
}

Result<UdpForwarder::Lease> UdpForwarder::lease(const SocketAddress& dialled) {
  auto place = answering_.find(dialled);
  if (place == answering_.end()) {
    FL_TRY(net::Fd fd, open_answering_udp(dialled));
    place = answering_.emplace(dialled, Answering{std::move(fd), 0}).first;
  }
  return Lease(answering_, place);
}

void UdpForwarder::sweep() {
  flows_.expire(with_.clock.now() - with_.limits.udp_idle);
  with_.balancer.expire(turns_last);
  with_.metrics.udp_flows.set(static_cast<int64_t>(flows_.size()));
  sweeper_ = with_.loop.after(with_.limits.sweep, [this] { sweep(); });
}

}  // namespace fairlead::dataplane::userspace
