#include "dataplane/ebpf/kernel_maps.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace fairlead::dataplane::ebpf {
namespace {

// Below this many entries single calls cost less than the kernel's set-up of a batch.
constexpr size_t smallest_batch = 4;
constexpr size_t most_read_bytes = 1 << 20;
constexpr size_t least_read_batch = 256;  // a hash map gives whole buckets only

constexpr int kernel_enotsupp = 524;  // ENOTSUPP: the kernel's own, not in errno.h

bool unsupported(int error) {
  return error == EINVAL || error == kernel_enotsupp || error == EOPNOTSUPP;
}

int each_by_key(int fd, size_t key_size, size_t value_size, const Maps::Visit& visit) {
  std::vector<std::byte> key(key_size), next(key_size), value(value_size);
  bool first = true;
  while (bpf_map_get_next_key(fd, first ? nullptr : key.data(), next.data()) == 0) {
    first = false;
    key = next;
    if (bpf_map_lookup_elem(fd, key.data(), value.data()) == 0) visit(key.data(), value.data());
  }
  return errno == ENOENT ? 0 : errno;
}

}  // namespace

KernelMaps::KernelMaps(const Fds& fds) : fds_(fds) {
  for (size_t i = 0; i < map_count; ++i) {
    bpf_map_info info{};
    uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(fds_[i], &info, &length) == 0) capacities_[i] = info.max_entries;
  }
}

WriteOutcome KernelMaps::update(MapId map, Bytes keys, Bytes values) {
  const MapShape& shape = shape_of(map);
  size_t count = keys.size() / shape.key_size, done = 0;
  if (count >= smallest_batch) {
    auto batch = static_cast<uint32_t>(count);
    LIBBPF_OPTS(bpf_map_batch_opts, opts);
    if (bpf_map_update_batch(fd(map), keys.data(), values.data(), &batch, &opts) == 0) {
      return {count, 0};
    }
    if (!unsupported(errno)) return {std::min<size_t>(batch, count), errno};
  }
  for (; done < count; ++done) {
    if (bpf_map_update_elem(fd(map), keys.data() + done * shape.key_size,
                            values.data() + done * shape.value_size, BPF_ANY) != 0) {
      return {done, errno};
    }
  }
  return {count, 0};
}

WriteOutcome KernelMaps::erase(MapId map, Bytes keys) {
  const MapShape& shape = shape_of(map);
  size_t count = keys.size() / shape.key_size, done = 0;
  while (count - done >= smallest_batch) {
    auto batch = static_cast<uint32_t>(count - done);
    LIBBPF_OPTS(bpf_map_batch_opts, opts);
    if (bpf_map_delete_batch(fd(map), keys.data() + done * shape.key_size, &batch, &opts) == 0) {
      return {count, 0};
    }
    if (unsupported(errno)) break;
    done += std::min<size_t>(batch, count - done);
    if (errno != ENOENT) return {done, errno};
    ++done;  // it was not there: as good as gone
  }
  for (; done < count; ++done) {
    if (bpf_map_delete_elem(fd(map), keys.data() + done * shape.key_size) != 0 && errno != ENOENT) {
      return {done, errno};
    }
  }
  return {count, 0};
}

int KernelMaps::each(MapId map, const Visit& visit) const {
  const MapShape& shape = shape_of(map);
  return each_in_map(fd(map), shape.key_size, shape.value_size, visit);
}

int KernelMaps::get(MapId map, const std::byte* key, std::byte* value) const {
  return bpf_map_lookup_elem(fd(map), key, value) == 0 ? 0 : errno;
}

int each_in_map(int fd, size_t key_size, size_t value_size, const Maps::Visit& visit) {
  const size_t read_batch = std::max(most_read_bytes / (key_size + value_size), least_read_batch);
  std::vector<std::byte> keys(key_size * read_batch), values(value_size * read_batch);
  // A hash map's cursor is a bucket number; other maps may want a whole key.
  std::vector<std::byte> cursor(std::max<size_t>(key_size, 8)), next(cursor.size());
  bool first = true;
  while (true) {
    auto count = static_cast<uint32_t>(read_batch);
    LIBBPF_OPTS(bpf_map_batch_opts, opts);
    int result = bpf_map_lookup_batch(fd, first ? nullptr : cursor.data(), next.data(), keys.data(),
                                      values.data(), &count, &opts);
    if (result != 0 && errno != ENOENT) {
      return first ? each_by_key(fd, key_size, value_size, visit) : errno;
    }
    for (uint32_t i = 0; i < count; ++i) {
      visit(keys.data() + i * key_size, values.data() + i * value_size);
    }
    if (result != 0) return 0;
    cursor = next;
    first = false;
  }
}

}  // namespace fairlead::dataplane::ebpf
