// Capture by bpf/lookup.bpf.c. The link is not pinned: it ends with this object or the process.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "bpf/shared/capture.h"
#include "dataplane/userspace/capture.h"
#include "dataplane/userspace/sockets.h"
#include "net/fd.h"
#include "net/netns.h"
#include "net/socket.h"
#include "skeletons/lookup.skel.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr std::string_view needs =
    "userspace mode needs sk_lookup programs (Linux 5.9, CAP_BPF and CAP_NET_ADMIN)";

constexpr size_t verifier_log_size = 1 << 16;

static_assert(static_cast<int>(Verdict::carry) == FL_VERDICT_CARRY);
static_assert(static_cast<int>(Verdict::refuse) == FL_VERDICT_REFUSE);
static_assert(static_cast<int>(Verdict::drop) == FL_VERDICT_DROP);
static_assert(static_cast<int>(SourceClass::node) == FL_SOURCE_NODE);
static_assert(static_cast<int>(SourceClass::local_pod) == FL_SOURCE_POD);
static_assert(static_cast<int>(SourceClass::outside) == FL_SOURCE_OUTSIDE);

struct SkeletonDeleter {
  void operator()(lookup_bpf* skeleton) const { lookup_bpf::destroy(skeleton); }
};

int discard(libbpf_print_level, const char*, va_list) { return 0; }

// Where the verifier stopped: its last line but for the statistics.
std::string last_line(std::string_view log) {
  std::string found;
  for (const std::string_view line : split(log, '\n')) {
    if (!line.empty() && !line.starts_with("processed ") && !line.starts_with("verification ") &&
        !line.starts_with("stack depth ")) {
      found = cat(": ", line);
    }
  }
  return found;
}

// Bits of the 16-byte form that a prefix covers.
uint32_t mapped_bits(const Cidr& cidr) { return (cidr.base.is_v4() ? 96u : 0u) + cidr.bits; }

template <size_t size>
void put(__u8 (&to)[size], const Ip& ip) {
  static_assert(size == sizeof ip.bytes);
  std::memcpy(to, ip.bytes.data(), size);
}

template <size_t size>
Ip get(const __u8 (&from)[size]) {
  Ip ip;
  std::memcpy(ip.bytes.data(), from, size);
  return ip;
}

// REQUIRES: a prefix that to_kernel() made.
Cidr cidr_of(const Ip& ip, uint32_t bits) {
  return {ip, static_cast<uint8_t>(bits - (ip.is_v4() ? 96 : 0))};
}

fl_capture_key to_kernel(const FlowKey& key) {
  fl_capture_key out{};
  put(out.ip, key.to.ip);
  out.port = key.to.port;
  out.protocol = static_cast<uint8_t>(key.protocol);
  return out;
}

FlowKey from_kernel(const fl_capture_key& key) {
  return {{get(key.ip), key.port}, static_cast<Protocol>(key.protocol)};
}

fl_admitted to_kernel(const Admitted& admitted) {
  fl_admitted out{};
  out.bits = 8 * sizeof out.to + mapped_bits(admitted.from);
  out.to = to_kernel(admitted.to);
  put(out.from, admitted.from.base);
  return out;
}

Admitted from_kernel(const fl_admitted& key) {
  return {from_kernel(key.to), cidr_of(get(key.from), key.bits - 8 * sizeof key.to)};
}

fl_capture_vip to_kernel(const Vip& vip) {
  fl_capture_vip out{};
  put(out.ip, vip.ip);
  return out;
}

Vip from_kernel(const fl_capture_vip& vip) { return {get(vip.ip)}; }

fl_source_prefix to_kernel(const Cidr& source) {
  fl_source_prefix out{};
  out.bits = mapped_bits(source);
  put(out.ip, source.base);
  return out;
}

Cidr from_kernel(const fl_source_prefix& key) { return cidr_of(get(key.ip), key.bits); }

// All values have four bytes.
uint32_t to_kernel(const CaptureValue& value) {
  if (const auto* source = std::get_if<SourceClass>(&value)) return static_cast<uint32_t>(*source);
  uint32_t out = 0;
  if (const auto* verdicts = std::get_if<Verdicts>(&value)) {
    fl_capture raw{};
    for (size_t i = 0; i < FL_SOURCES; ++i) {
      raw.by_source[i] = static_cast<uint8_t>(verdicts->by_source[i]);
    }
    raw.guarded = verdicts->guarded;
    std::memcpy(&out, &raw, sizeof out);
  }
  return out;
}

CaptureValue value_from_kernel(const FlowKey&, uint32_t value) {
  fl_capture raw{};
  std::memcpy(&raw, &value, sizeof raw);
  Verdicts out;
  for (size_t i = 0; i < FL_SOURCES; ++i) {
    out.by_source[i] = static_cast<Verdict>(raw.by_source[i]);
  }
  out.guarded = raw.guarded != 0;
  return out;
}

CaptureValue value_from_kernel(const Cidr&, uint32_t value) {
  return static_cast<SourceClass>(value);
}

CaptureValue value_from_kernel(const auto&, uint32_t) { return {}; }

std::unexpected<Error> fail_map(const bpf_map* map, std::string_view what) {
  if (errno == E2BIG) {
    return fail(cat(what, ": the ", bpf_map__name(map), " map is full (", bpf_map__max_entries(map),
                    " entries)"));
  }
  return fail(cat(what, ": ", net::errno_text(errno)));
}

// Of a map with keys of type Key.
template <class Key>
Result<void> read_map(const bpf_map* map, CaptureEntries& entries) {
  const int fd = bpf_map__fd(map);
  Key key{};
  const Key* previous = nullptr;
  Key next{};
  while (bpf_map_get_next_key(fd, previous, &next) == 0) {
    key = next;
    previous = &key;
    uint32_t value = 0;
    if (bpf_map_lookup_elem(fd, &key, &value) != 0) continue;
    const auto entry = from_kernel(key);
    entries.emplace(entry, value_from_kernel(entry, value));
  }
  if (errno != ENOENT) return fail_map(map, cat("cannot read the ", bpf_map__name(map), " map"));
  return {};
}

class KernelCapture final : public Capture {
 public:
  explicit KernelCapture(uint32_t max_entries) : max_entries_(max_entries) {}

  Result<void> attach(int tcp_listener, int udp_socket) override;
  void detach() override { link_.reset(); }
  Result<void> defer() override { return set_socket(FL_SOCKET_TCP, dropping_tcp_); }
  Result<void> set(const CaptureKey& key, const CaptureValue& value) override;
  Result<void> erase(const CaptureKey& key) override;
  Result<CaptureState> read() const override;

 private:
  Result<void> load();
  Result<void> set_socket(uint32_t slot, const net::Fd& socket) {
    return set_socket(slot, socket.get());
  }
  Result<void> set_socket(uint32_t slot, int socket);
  const bpf_map* map_of(const CaptureKey& key) const;

  const uint32_t max_entries_;
  std::unique_ptr<lookup_bpf, SkeletonDeleter> skeleton_;
  std::optional<net::Netns> netns_;
  net::Fd dropping_tcp_, dropping_udp_;
  net::Fd link_;
};

Result<void> KernelCapture::load() {
  libbpf_set_print(discard);
  std::string verifier_log(verifier_log_size, '\0');
  LIBBPF_OPTS(bpf_object_open_opts, opts);
  opts.kernel_log_buf = verifier_log.data();
  opts.kernel_log_size = verifier_log.size();
  std::unique_ptr<lookup_bpf, SkeletonDeleter> skeleton(lookup_bpf::open(&opts));
  if (!skeleton) return fail(cat("cannot open the BPF object: ", net::errno_text(errno)));
  bpf_map__set_max_entries(skeleton->maps.captured, max_entries_);
  bpf_map__set_max_entries(skeleton->maps.admitted, max_entries_);
  bpf_map__set_max_entries(skeleton->maps.vips, max_entries_);
  if (lookup_bpf::load(skeleton.get()) != 0) {
    return fail(cat(needs, ": cannot load the program: ", net::errno_text(errno),
                    last_line(verifier_log.c_str())));
  }
  skeleton_ = std::move(skeleton);
  return {};
}

Result<void> KernelCapture::attach(int tcp_listener, int udp_socket) {
  if (!skeleton_) FL_TRY_VOID(load());
  if (!netns_) {
    FL_TRY(netns_, net::Netns::current());
  }
  if (!dropping_udp_) {
    FL_TRY(dropping_tcp_, open_dropping(SOCK_STREAM));
    FL_TRY(dropping_udp_, open_dropping(SOCK_DGRAM));
  }
  FL_TRY_VOID(set_socket(FL_SOCKET_TCP, tcp_listener));
  FL_TRY_VOID(set_socket(FL_SOCKET_UDP, udp_socket));
  FL_TRY_VOID(set_socket(FL_SOCKET_DROP_TCP, dropping_tcp_));
  FL_TRY_VOID(set_socket(FL_SOCKET_DROP_UDP, dropping_udp_));
  const int program = bpf_program__fd(skeleton_->progs.capture);
  link_ = net::Fd(bpf_link_create(program, netns_->fd(), BPF_SK_LOOKUP, nullptr));
  if (!link_) {
    return fail(cat(needs, ": cannot attach to the network namespace: ", net::errno_text(errno)));
  }
  return {};
}

Result<void> KernelCapture::set_socket(uint32_t slot, int socket) {
  const uint64_t value = static_cast<uint64_t>(socket);
  if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.sockets), &slot, &value, BPF_ANY) == 0) {
    return {};
  }
  return fail(cat(needs, ": cannot give a socket to the program: ", net::errno_text(errno)));
}

const bpf_map* KernelCapture::map_of(const CaptureKey& key) const {
  const auto& maps = skeleton_->maps;
  const bpf_map* const by_kind[] = {maps.captured, maps.admitted, maps.vips, maps.sources};
  static_assert(std::size(by_kind) == std::variant_size_v<CaptureKey>);
  return by_kind[key.index()];
}

Result<void> KernelCapture::set(const CaptureKey& key, const CaptureValue& value) {
  if (!skeleton_) return fail(cat("no ", to_text(key), ": the program is not loaded"));
  const bpf_map* map = map_of(key);
  const uint32_t raw_value = to_kernel(value);
  const auto update = [&](const auto& entry) {
    const auto raw = to_kernel(entry);
    return bpf_map_update_elem(bpf_map__fd(map), &raw, &raw_value, BPF_ANY);
  };
  if (std::visit(update, key) != 0) return fail_map(map, cat("cannot set ", to_text(key)));
  return {};
}

Result<void> KernelCapture::erase(const CaptureKey& key) {
  if (!skeleton_) return {};
  const bpf_map* map = map_of(key);
  const auto remove = [&](const auto& entry) {
    const auto raw = to_kernel(entry);
    return bpf_map_delete_elem(bpf_map__fd(map), &raw);
  };
  if (std::visit(remove, key) != 0 && errno != ENOENT) {
    return fail_map(map, cat("cannot remove ", to_text(key)));
  }
  return {};
}

Result<CaptureState> KernelCapture::read() const {
  CaptureState state;
  if (!skeleton_) return state;
  bpf_link_info info{};
  uint32_t length = sizeof info;
  // A link that somebody detached is there still, but belongs to no namespace.
  state.attached = link_ && bpf_obj_get_info_by_fd(link_.get(), &info, &length) == 0 &&
                   info.netns.netns_ino != 0;
  const auto& maps = skeleton_->maps;
  FL_TRY_VOID(read_map<fl_capture_key>(maps.captured, state.entries));
  FL_TRY_VOID(read_map<fl_admitted>(maps.admitted, state.entries));
  FL_TRY_VOID(read_map<fl_capture_vip>(maps.vips, state.entries));
  FL_TRY_VOID(read_map<fl_source_prefix>(maps.sources, state.entries));
  return state;
}

}  // namespace

std::unique_ptr<Capture> make_kernel_capture(uint32_t max_entries) {
  return std::make_unique<KernelCapture>(max_entries);
}

}  // namespace fairlead::dataplane::userspace
