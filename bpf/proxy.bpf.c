// The service proxy's programs, as one object so that all of them share its maps.
#include "bpf/socket_hooks.h"
#include "bpf/tc.h"

char LICENSE[] SEC("license") = "GPL";
