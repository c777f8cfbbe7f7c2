#include "dataplane/ebpf/object.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "base/text.h"
#include "dataplane/ebpf/flow_maps.h"
#include "net/fd.h"
#include "skeletons/proxy.skel.h"

namespace fairlead::dataplane::ebpf {
namespace {

constexpr size_t verifier_log_size = 1 << 20;
constexpr uint32_t copy_batch = 1024;

struct SkeletonDeleter {
  void operator()(proxy_bpf* skeleton) const { proxy_bpf::destroy(skeleton); }
};
using Skeleton = std::unique_ptr<proxy_bpf, SkeletonDeleter>;

bool is_internal(const bpf_map* map) { return std::strchr(bpf_map__name(map), '.') != nullptr; }

constexpr uint32_t least = 1024;  // LRU maps spread their spare entries over the CPUs

// Maps whose entries mean the same in every layout, as long as their shape is the same: programs of
// both share them, so that what one of them begins the other goes on with.
bool is_timeless(std::string_view name) {
  return name == "marks" || name == "reverse" || name == "fragments";
}

// Sizes that options set.
uint32_t wanted_entries(const bpf_map* map, const EbpfOptions& options) {
  std::string_view name = bpf_map__name(map);
  if (name == "frontends") return std::max(options.max_services, 1u);
  if (name == "backends" || name == "members") return std::max(options.max_backends, 1u);
  if (name == "maglev") return std::max(options.max_maglev, 1u);
  if (name == "addresses") {  // a ClusterIP each, and the node's
    return std::min(options.max_services, UINT32_MAX - least) + least;
  }
  return bpf_map__max_entries(map);
}

// "": none.
std::string_view option_of(std::string_view map) {
  for (size_t i = 0; i < map_count; ++i) {
    const MapShape& shape = shape_of(static_cast<MapId>(i));
    if (shape.name == map) return shape.option;
  }
  return {};
}

Result<void> copy_entries(const bpf_map_info& shape, int from, int to, uint32_t room) {
  std::vector<std::byte> keys, values;
  int failure = 0;
  auto flush = [&] {
    for (size_t i = 0; i * shape.key_size < keys.size() && failure == 0; ++i) {
      if (bpf_map_update_elem(to, keys.data() + i * shape.key_size,
                              values.data() + i * shape.value_size, BPF_ANY) != 0) {
        failure = errno;
      }
    }
    keys.clear();
    values.clear();
  };
  int error = each_in_map(from, shape.key_size, shape.value_size,
                          [&](const std::byte* key, const std::byte* value) {
                            keys.insert(keys.end(), key, key + shape.key_size);
                            values.insert(values.end(), value, value + shape.value_size);
                            if (keys.size() >= copy_batch * shape.key_size) flush();
                          });
  flush();
  if (error == 0) error = failure;
  if (error == E2BIG) {
    return fail(cat("the pinned map ", shape.name, " holds more entries than ",
                    option_of(shape.name), " allows (", room, ")"));
  }
  if (error != 0) {
    return fail(cat("cannot copy the map ", shape.name,
                    " into one of another size: ", std::strerror(error)));
  }
  return {};
}

// Sends libbpf's messages to nobody: what went wrong is in our errors.
int discard(libbpf_print_level, const char*, va_list) { return 0; }

std::string last_lines(const std::string& log, size_t bytes) {
  std::string text = log.c_str();  // up to the first NUL
  return text.size() <= bytes ? text : text.substr(text.size() - bytes);
}

}  // namespace

const std::vector<SocketHook>& socket_hooks() {
  static const std::vector<SocketHook> hooks = {
      {"cgroup_recvmsg4", BPF_CGROUP_UDP4_RECVMSG, &EbpfSupport::recvmsg},
      {"cgroup_recvmsg6", BPF_CGROUP_UDP6_RECVMSG, &EbpfSupport::recvmsg},
      {"cgroup_getpeername4", BPF_CGROUP_INET4_GETPEERNAME, &EbpfSupport::getpeername},
      {"cgroup_getpeername6", BPF_CGROUP_INET6_GETPEERNAME, &EbpfSupport::getpeername},
      {"cgroup_sendmsg4", BPF_CGROUP_UDP4_SENDMSG, &EbpfSupport::sendmsg},
      {"cgroup_sendmsg6", BPF_CGROUP_UDP6_SENDMSG, &EbpfSupport::sendmsg},
      {"cgroup_connect4", BPF_CGROUP_INET4_CONNECT, &EbpfSupport::connect},
      {"cgroup_connect6", BPF_CGROUP_INET6_CONNECT, &EbpfSupport::connect},
  };
  return hooks;
}

struct Object::Impl {
  Skeleton skeleton;
  std::vector<std::pair<bpf_map*, net::Fd>> to_copy;  // pinned in another size
  std::string verifier_log = std::string(verifier_log_size, '\0');
  fl_marks* marks = nullptr;
  net::Fd conntrack;
  std::string conntrack_pin;  // for programs of layouts before 4, and for people
  uint32_t max_conntrack = 0;

  ~Impl() {
    if (marks != nullptr) munmap(marks, sizeof *marks);
  }

  Result<void> open(const EbpfSupport& support) {
    libbpf_set_print(discard);
    LIBBPF_OPTS(bpf_object_open_opts, opts);
    opts.kernel_log_buf = verifier_log.data();
    opts.kernel_log_size = verifier_log.size();
    skeleton.reset(proxy_bpf::open(&opts));
    if (!skeleton) return fail(cat("cannot open the BPF object: ", std::strerror(errno)));
    for (const SocketHook& hook : socket_hooks()) {
      bpf_program* program = bpf_object__find_program_by_name(skeleton->obj, hook.name);
      bpf_program__set_autoload(program, support.*hook.need);
    }
    for (const char* name : {"tc_ingress", "tc_egress"}) {
      bpf_program* program = bpf_object__find_program_by_name(skeleton->obj, name);
      bpf_program__set_autoload(program, support.tc);
    }
    skeleton->rodata->has_set_retval =
        libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, nullptr) == 1;
    return {};
  }

  // What is pinned at `path`, or in a map of this name of an older layout. No descriptor: nothing.
  static Result<net::Fd> pinned(const bpf_map* map, const Pins& pins) {
    const std::string path = pins.map(bpf_map__name(map));
    net::Fd own(bpf_obj_get(path.c_str()));
    if (own) return own;
    if (errno != ENOENT) {
      return fail(cat("cannot open the pinned map ", path, ": ", std::strerror(errno)));
    }
    if (!is_timeless(bpf_map__name(map))) return net::Fd();
    net::Fd older(bpf_obj_get(pins.older_map(bpf_map__name(map)).c_str()));
    bpf_map_info info{};
    uint32_t length = sizeof info;
    if (!older || bpf_obj_get_info_by_fd(older.get(), &info, &length) != 0) return net::Fd();
    return has_shape(map, info) ? std::move(older) : net::Fd();
  }

  static bool has_shape(const bpf_map* map, const bpf_map_info& info) {
    return info.type == bpf_map__type(map) && info.key_size == bpf_map__key_size(map) &&
           info.value_size == bpf_map__value_size(map) && info.map_flags == bpf_map__map_flags(map);
  }

  Result<void> reuse(bpf_map* map, const Pins& pins, uint32_t entries) {
    const std::string path = pins.map(bpf_map__name(map));
    if (bpf_map__set_max_entries(map, entries) != 0) {
      return fail(cat("cannot size the map ", bpf_map__name(map), ": ", std::strerror(errno)));
    }
    FL_TRY(net::Fd held, pinned(map, pins));
    if (!held) return {};
    bpf_map_info info{};
    uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(held.get(), &info, &length) != 0) {
      return fail(cat("cannot ask for the shape of ", path, ": ", std::strerror(errno)));
    }
    if (!has_shape(map, info)) {
      return fail(cat("the pinned map ", path, " has another shape than this program's; ",
                      "remove what the other program left first"));
    }
    if (info.max_entries != entries) {
      to_copy.emplace_back(map, std::move(held));
      return {};
    }
    if (bpf_map__reuse_fd(map, held.get()) != 0) {  // duplicates the descriptor
      return fail(cat("cannot use the pinned map ", path, ": ", std::strerror(errno)));
    }
    return {};
  }

  Result<void> load() {
    if (bpf_object__load(skeleton->obj) != 0) {
      return fail(cat("cannot load the BPF object: ", std::strerror(errno), "\n",
                      last_lines(verifier_log, 4000)));
    }
    verifier_log.clear();
    verifier_log.shrink_to_fit();
    for (auto& [map, held] : to_copy) {
      bpf_map_info info{};
      uint32_t length = sizeof info;
      bpf_obj_get_info_by_fd(held.get(), &info, &length);
      FL_TRY_VOID(copy_entries(info, held.get(), bpf_map__fd(map), bpf_map__max_entries(map)));
    }
    to_copy.clear();
    return map_marks();
  }

  EntryTypes conntrack_types() const {
    const btf* types = bpf_object__btf(skeleton->obj);
    const auto number = [&](const char* name) {
      return static_cast<uint32_t>(btf__find_by_name_kind(types, name, BTF_KIND_STRUCT));
    };
    return {bpf_object__btf_fd(skeleton->obj), number("fl_tuple"), number("fl_nat")};
  }

  Result<void> use_conntrack(net::Fd now) {
    conntrack = std::move(now);
    return pin(conntrack.get(), conntrack_pin);
  }

  int fd_of(const char* name) const { return bpf_object__find_map_fd_by_name(skeleton->obj, name); }

  Result<void> map_marks() {
    const int fd = fd_of("marks");
    void* memory = mmap(nullptr, sizeof *marks, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
      return fail(cat("cannot map the marks map into memory: ", std::strerror(errno)));
    }
    marks = static_cast<fl_marks*>(memory);
    if (marks->generation == 0) {
      marks->everything = 1;
      marks->generation = 1;
    }
    return {};
  }
};

Object::Object(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Object::~Object() = default;

Result<std::unique_ptr<Object>> Object::load(const Pins& pins, const EbpfOptions& options,
                                             const EbpfSupport& support) {
  auto impl = std::make_unique<Impl>();
  FL_TRY_VOID(impl->open(support));
  bpf_object* object = impl->skeleton->obj;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (is_internal(map)) continue;
    FL_TRY_VOID(impl->reuse(map, pins, wanted_entries(map, options)));
  }
  FL_TRY_VOID(impl->load());
  impl->max_conntrack = std::max(options.max_conntrack, least);
  impl->conntrack_pin = pins.map("conntrack");
  FL_TRY(net::Fd conntrack,
         open_conntrack(impl->fd_of("flows"), pins, impl->max_conntrack, impl->conntrack_types()));
  FL_TRY_VOID(impl->use_conntrack(std::move(conntrack)));
  bpf_object__for_each_map(map, object) {
    if (!is_internal(map)) FL_TRY_VOID(pin(bpf_map__fd(map), pins.map(bpf_map__name(map))));
  }
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) {
    if (!bpf_program__autoload(program)) continue;
    FL_TRY_VOID(pin(bpf_program__fd(program), pins.program(bpf_program__name(program))));
  }
  return std::unique_ptr<Object>(new Object(std::move(impl)));
}

KernelMaps::Fds Object::map_fds() const {
  KernelMaps::Fds fds{};
  for (size_t i = 0; i < map_count; ++i) {
    fds[i] = map_fd(std::string(shape_of(static_cast<MapId>(i)).name));
  }
  return fds;
}

fl_marks& Object::marks() const { return *impl_->marks; }

int Object::map_fd(const std::string& name) const {
  return name == "conntrack" ? impl_->conntrack.get() : impl_->fd_of(name.c_str());
}

EntryTypes Object::conntrack_types() const { return impl_->conntrack_types(); }

Result<size_t> Object::resize_flows() {
  const int flows = impl_->fd_of("flows");
  FL_TRY(const size_t moved,
         resize_conntrack(flows, impl_->max_conntrack, impl_->conntrack_types()));
  FL_TRY(net::Fd now, conntrack_in_use(flows));
  FL_TRY_VOID(impl_->use_conntrack(std::move(now)));
  return moved;
}

int Object::program_fd(const std::string& name) const {
  bpf_program* program = bpf_object__find_program_by_name(impl_->skeleton->obj, name.c_str());
  return program == nullptr || !bpf_program__autoload(program) ? -1 : bpf_program__fd(program);
}

}  // namespace fairlead::dataplane::ebpf
