// The smallest program with what proxy.bpf.c needs of a kernel beyond its hooks: a function that is
// verified by itself and takes a pointer (Linux 5.12).
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct argument {
  __u32 value;
};

__noinline int take(const struct argument* argument) { return argument ? (int)argument->value : 0; }

SEC("tc")
int probe(struct __sk_buff* skb) {
  struct argument argument = {.value = skb->len};
  return take(&argument);
}

char LICENSE[] SEC("license") = "GPL";
