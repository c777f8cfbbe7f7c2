# Every third-party library, with the room that owns it (docs/architecture.md, "Dependencies").
find_package(PkgConfig REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)                        # net, ingress
find_package(Boost 1.81 REQUIRED COMPONENTS json)         # Beast: net, ingress; JSON: api
find_package(SQLite3 REQUIRED)                            # controlplane/store
find_package(CLI11 2.1 REQUIRED)                          # cli
find_package(GTest 1.12 REQUIRED)                         # tests
find_package(benchmark REQUIRED)                          # bench
find_package(Threads REQUIRED)
pkg_check_modules(nl REQUIRED IMPORTED_TARGET libnl-3.0 libnl-route-3.0 libnl-genl-3.0)  # net/netlink
pkg_check_modules(cares REQUIRED IMPORTED_TARGET libcares)                               # net/resolver
pkg_check_modules(yaml REQUIRED IMPORTED_TARGET yaml-cpp)                   # api/yaml, agent/config
pkg_check_modules(bpf REQUIRED IMPORTED_TARGET libbpf)                      # dataplane/ebpf
pkg_check_modules(nftables REQUIRED IMPORTED_TARGET libnftables)            # dataplane/nftables
