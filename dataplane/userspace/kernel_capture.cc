// Capture by bpf/lookup.bpf.c. The link is not pinned: it ends with this object or the process.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "bpf/shared/capture.h"
#include "dataplane/userspace/capture.h"
#include "net/fd.h"
#include "net/netns.h"
#include "net/socket.h"
#include "skeletons/lookup.skel.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr std::string_view needs =
    "userspace mode needs sk_lookup programs (Linux 5.9, CAP_BPF and CAP_NET_ADMIN)";

constexpr size_t verifier_log_size = 1 << 16;

static_assert(static_cast<uint32_t>(CaptureAction::tcp) == FL_CAPTURE_TCP);
static_assert(static_cast<uint32_t>(CaptureAction::udp) == FL_CAPTURE_UDP);
static_assert(static_cast<uint32_t>(CaptureAction::refuse) == FL_CAPTURE_REFUSE);

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

fl_capture_key to_kernel(const FlowKey& key) {
  fl_capture_key out{};
  std::memcpy(out.ip, key.to.ip.bytes.data(), sizeof out.ip);
  out.port = key.to.port;
  out.protocol = static_cast<uint8_t>(key.protocol);
  return out;
}

FlowKey from_kernel(const fl_capture_key& key) {
  FlowKey out;
  std::memcpy(out.to.ip.bytes.data(), key.ip, sizeof key.ip);
  out.to.port = key.port;
  out.protocol = static_cast<Protocol>(key.protocol);
  return out;
}

fl_capture_vip to_kernel(const Ip& ip) {
  fl_capture_vip out{};
  std::memcpy(out.ip, ip.bytes.data(), sizeof out.ip);
  return out;
}

std::unexpected<Error> fail_map(const bpf_map* map, std::string_view what) {
  if (errno == E2BIG) {
    return fail(cat(what, ": the ", bpf_map__name(map), " map is full (", bpf_map__max_entries(map),
                    " entries)"));
  }
  return fail(cat(what, ": ", net::errno_text(errno)));
}

template <class Key, class Visit>
Result<void> each(const bpf_map* map, Visit visit) {
  const int fd = bpf_map__fd(map);
  Key key{};
  const Key* previous = nullptr;
  Key next{};
  while (bpf_map_get_next_key(fd, previous, &next) == 0) {
    key = next;
    previous = &key;
    uint32_t value = 0;
    if (bpf_map_lookup_elem(fd, &key, &value) == 0) visit(key, value);
  }
  if (errno != ENOENT) return fail_map(map, cat("cannot read the ", bpf_map__name(map), " map"));
  return {};
}

class KernelCapture final : public Capture {
 public:
  explicit KernelCapture(uint32_t max_entries) : max_entries_(max_entries) {}

  Result<void> attach(int tcp_listener, int udp_socket) override;
  void detach() override { link_.reset(); }
  Result<void> set(const FlowKey& key, CaptureAction action) override {
    const auto raw = to_kernel(key);
    const uint32_t value = static_cast<uint32_t>(action);
    return update(skeleton_ ? skeleton_->maps.captured : nullptr, &raw, value,
                  cat("cannot capture ", key.to_string()));
  }
  Result<void> erase(const FlowKey& key) override {
    const auto raw = to_kernel(key);
    return remove(skeleton_ ? skeleton_->maps.captured : nullptr, &raw,
                  cat("cannot end the capture of ", key.to_string()));
  }
  Result<void> add_vip(const Ip& ip) override {
    const auto raw = to_kernel(ip);
    return update(skeleton_ ? skeleton_->maps.vips : nullptr, &raw, 1,
                  cat("cannot guard the ports of ", ip.to_string()));
  }
  Result<void> erase_vip(const Ip& ip) override {
    const auto raw = to_kernel(ip);
    return remove(skeleton_ ? skeleton_->maps.vips : nullptr, &raw,
                  cat("cannot stop guarding the ports of ", ip.to_string()));
  }
  Result<CaptureState> read() const override;

 private:
  Result<void> load();
  static Result<void> update(const bpf_map* map, const void* key, uint32_t value,
                             std::string_view what);
  static Result<void> remove(const bpf_map* map, const void* key, std::string_view what);

  const uint32_t max_entries_;
  std::unique_ptr<lookup_bpf, SkeletonDeleter> skeleton_;
  std::optional<net::Netns> netns_;
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
  const int sockets[FL_CAPTURE_SOCKETS] = {tcp_listener, udp_socket};
  for (uint32_t slot = 0; slot < FL_CAPTURE_SOCKETS; ++slot) {
    const uint64_t value = static_cast<uint64_t>(sockets[slot]);
    const int map = bpf_map__fd(skeleton_->maps.sockets);
    if (bpf_map_update_elem(map, &slot, &value, BPF_ANY) != 0) {
      return fail(cat(needs, ": cannot give a socket to the program: ", net::errno_text(errno)));
    }
  }
  const int program = bpf_program__fd(skeleton_->progs.capture);
  link_ = net::Fd(bpf_link_create(program, netns_->fd(), BPF_SK_LOOKUP, nullptr));
  if (!link_) {
    return fail(cat(needs, ": cannot attach to the network namespace: ", net::errno_text(errno)));
  }
  return {};
}

Result<void> KernelCapture::update(const bpf_map* map, const void* key, uint32_t value,
                                   std::string_view what) {
  if (map == nullptr) return fail(cat(what, ": the program is not loaded"));
  if (bpf_map_update_elem(bpf_map__fd(map), key, &value, BPF_ANY) != 0) return fail_map(map, what);
  return {};
}

Result<void> KernelCapture::remove(const bpf_map* map, const void* key, std::string_view what) {
  if (map == nullptr) return {};
  if (bpf_map_delete_elem(bpf_map__fd(map), key) != 0 && errno != ENOENT) {
    return fail_map(map, what);
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
  FL_TRY_VOID(each<fl_capture_key>(skeleton_->maps.captured, [&](const auto& key, uint32_t value) {
    state.captured.emplace(from_kernel(key), static_cast<CaptureAction>(value));
  }));
  FL_TRY_VOID(each<fl_capture_vip>(skeleton_->maps.vips, [&](const auto& vip, uint32_t) {
    Ip ip;
    std::memcpy(ip.bytes.data(), vip.ip, sizeof vip.ip);
    state.vips.insert(ip);
  }));
  return state;
}

}  // namespace

std::unique_ptr<Capture> make_kernel_capture(uint32_t max_entries) {
  return std::make_unique<KernelCapture>(max_entries);
}

}  // namespace fairlead::dataplane::userspace
