#include "controlplane/server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <future>
#include <thread>

#include "base/check.h"
#include "base/text.h"
#include "controlplane/bootstrap.h"
#include "controlplane/controllers/manager.h"
#include "controlplane/hub.h"
#include "controlplane/pki.h"
#include "controlplane/rest.h"
#include "controlplane/store.h"
#include "net/http_client.h"
#include "net/http_server.h"

namespace fairlead::controlplane {
namespace {

constexpr Duration kSweepEvery = std::chrono::seconds(60);

// Everything that lives on the API thread, top to bottom in the order of need.
class Core {
 public:
  Core(const Config& config, const Log& log, Registry& registry, net::EventLoop& loop,
       ObjectRules rules, std::unique_ptr<StoreLog> store_log)
      : config_(config),
        loop_(loop),
        rules_(std::move(rules)),
        store_(loop, resources_, std::move(store_log), log.named("store"), registry, {}),
        hub_(loop, resources_, clock_, registry, {}),
        writer_(store_, resources_, rules_,
                {config.service_cidrs, config.node_port_low, config.node_port_high}, clock_),
        api_({loop, resources_, rules_, store_, hub_, writer_, clock_, registry, ::getuid()},
             log.named("api")),
        http_(loop, log.named("http"),
              [this](net::HttpRequest request, std::unique_ptr<net::Responder> responder) {
                api_.handle(std::move(request), std::move(responder));
              }) {}

  Result<void> load() {
    FL_TRY_VOID(store_.load([this](const StoreEvent& event) { hub_.publish(event); }));
    hub_.set_floor(store_.compacted());
    writer_.adopt_services();
    return {};
  }

  Result<SocketAddress> listen(const Pki& pki) {
    FL_TRY(std::shared_ptr<const net::TlsContext> tls,
           net::TlsContext::server({.certificate_pem = pki.server.certificate_pem,
                                    .key_pem = pki.server.key_pem,
                                    .client_ca_pem = pki.authority.certificate_pem}));
    FL_TRY(SocketAddress bound, http_.listen(config_.listen, tls));
    api_.set_address(bound.to_string());
    return bound;
  }
  Result<void> listen_unix(const std::string& path, int mode) {
    return http_.listen_unix(path, mode);
  }

  void fill(const SocketAddress& bound, std::move_only_function<void(Result<void>)> done) {
    bootstrap(store_, resources_, writer_,
              {config_.service_cidrs.front(), bound, find_host_address()},
              [this, done = std::move(done)](Result<void> filled) mutable {
                if (filled) api_.set_ready();
                done(std::move(filled));
              });
    sweep_later();
  }

 private:
  void sweep_later() {
    sweep_ = loop_.after(kSweepEvery, [this] {
      writer_.sweep();
      sweep_later();
    });
  }

  const Config& config_;
  net::EventLoop& loop_;
  const ResourceTable resources_;
  const RealClock clock_;
  const ObjectRules rules_;
  Store store_;
  Hub hub_;
  Writer writer_;
  Api api_;
  net::HttpServer http_;
  net::Timer sweep_;
};

Result<void> check(const Config& config) {
  if (config.data_dir.empty()) return fail("control plane: data_dir is not set");
  if (config.service_cidrs.empty() || config.service_cidrs.size() > 2)
    return fail("control plane: service_cidrs needs one range, or one of each family");
  if (config.service_cidrs.size() == 2 &&
      config.service_cidrs[0].base.is_v4() == config.service_cidrs[1].base.is_v4())
    return fail("control plane: service_cidrs: both ranges are of one family");
  for (const Cidr& cidr : config.service_cidrs)
    if (cidr.size() < 8)
      return fail(cat("control plane: service_cidrs: ", cidr.to_string(), " is too small"));
  if (config.node_port_low == 0 || config.node_port_low > config.node_port_high)
    return fail(cat("control plane: node ports ", config.node_port_low, "-", config.node_port_high,
                    " are no range"));
  return {};
}

PkiRequest pki_request(const Config& config) {
  PkiRequest out{config.data_dir + "/pki", {}, {}};
  out.dns_names = {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                   "kubernetes.default.svc.cluster.local"};
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) == 0 && host[0] != '\0')
    out.dns_names.emplace_back(host);
  out.ips = {Ip::v4(0x7f000001), *Ip::parse("::1")};
  for (const Cidr& cidr : config.service_cidrs) out.ips.push_back(cidr.at(1));
  if (!config.listen.ip.is_unspecified()) {
    out.ips.push_back(config.listen.ip);
  } else if (std::optional<Ip> host_address = find_host_address()) {
    out.ips.push_back(*host_address);
  }
  for (const std::string& extra : config.extra_sans) {
    if (std::optional<Ip> ip = Ip::parse(extra))
      out.ips.push_back(*ip);
    else
      out.dns_names.push_back(extra);
  }
  return out;
}

}  // namespace

struct Server::Impl {
  Impl(Config given, Log logger, Registry& metrics)
      : config(std::move(given)), log(std::move(logger)), registry(metrics) {}

  Result<void> prepare();
  void run(std::promise<Result<void>> started);
  Result<void> open(Core& core);

  const Config config;
  const Log log;
  Registry& registry;
  net::EventLoop loop;
  std::optional<ObjectRules> rules;
  std::unique_ptr<StoreLog> store_log;
  Pki pki;
  std::string controller_socket;
  SocketAddress bound;
  std::thread thread;
  std::unique_ptr<ControllerManager> controllers;
};

Result<void> Server::Impl::prepare() {
  FL_TRY_VOID(check(config));
  for (const std::string& file : {config.data_dir, config.unix_socket, config.admin_kubeconfig}) {
    std::error_code ignored;  // what could not be made is reported by whoever needs it
    std::filesystem::create_directories(std::filesystem::path(file).parent_path(), ignored);
  }
  if (::mkdir(config.data_dir.c_str(), 0700) != 0 && errno != EEXIST)
    return fail(cat("make folder ", config.data_dir, ": ", std::strerror(errno)));
  FL_TRY(ObjectRules loaded, ObjectRules::load());
  rules.emplace(std::move(loaded));
  FL_TRY(store_log, open_sqlite_log(config.data_dir + "/store.db"));
  FL_TRY(pki, open_pki(pki_request(config)));
  controller_socket = config.data_dir + "/controllers.sock";
  return {};
}

Result<void> Server::Impl::open(Core& core) {
  FL_TRY_VOID(core.load());
  FL_TRY(bound, core.listen(pki));
  FL_TRY_VOID(core.listen_unix(controller_socket, 0600));
  if (!config.unix_socket.empty())
    FL_TRY_VOID(core.listen_unix(config.unix_socket, config.unix_mode));
  if (!config.admin_kubeconfig.empty()) {
    SocketAddress server = bound;
    if (server.ip.is_unspecified()) server.ip = Ip::v4(0x7f000001);
    FL_TRY_VOID(write_private_file(config.admin_kubeconfig, kubeconfig_text(pki, server), 0600));
  }
  return {};
}

void Server::Impl::run(std::promise<Result<void>> started) {
  Core core(config, log, registry, loop, *std::move(rules), std::move(store_log));
  if (Result<void> opened = open(core); !opened) return started.set_value(std::move(opened));
  core.fill(bound, [&started](Result<void> filled) { started.set_value(std::move(filled)); });
  loop.run();
}

Server::Server(Config config, Log log, Registry& registry)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(log), registry)) {}

Server::~Server() { stop(); }

Result<void> Server::start() {
  CHECK(!impl_->thread.joinable());
  FL_TRY_VOID(impl_->prepare());
  std::promise<Result<void>> promise;
  std::future<Result<void>> started = promise.get_future();
  impl_->thread = std::thread([impl = impl_.get(), promise = std::move(promise)]() mutable {
    impl->run(std::move(promise));
  });
  if (Result<void> outcome = started.get(); !outcome) {
    stop();
    return outcome;
  }
  net::HttpTarget target;
  target.unix_path = impl_->controller_socket;
  impl_->controllers = std::make_unique<ControllerManager>(
      std::move(target), net::Headers{}, impl_->log.named("controllers"), impl_->registry);
  impl_->controllers->start();
  impl_->log.info("API server is up", {{"address", impl_->bound.to_string()}});
  return {};
}

SocketAddress Server::address() const { return impl_->bound; }

void Server::stop() {
  if (impl_->controllers) impl_->controllers->stop();
  impl_->controllers.reset();
  if (!impl_->thread.joinable()) return;
  impl_->loop.stop();
  impl_->thread.join();
}

}  // namespace fairlead::controlplane
