// From request to reply: routing, the steps in their order, and what follows a reply. One engine
// per worker; it belongs to the worker's loop.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ip.h"
#include "base/log.h"
#include "dns/error_board.h"
#include "dns/index_board.h"
#include "dns/message.h"
#include "dns/metrics.h"
#include "dns/plan.h"
#include "dns/plugins/forward/forwarder.h"

namespace fairlead::dns {

// Sends a reply that took longer than its request's turn. Destroying it unused sends nothing.
class LateReply {
 public:
  virtual ~LateReply() = default;
  virtual void send(Bytes reply) = 0;
};

// Where a request came from.
class Origin {
 public:
  virtual ~Origin() = default;
  virtual bool tcp() const = 0;
  virtual bool ipv6() const = 0;
  virtual SocketAddress client() const = 0;
  // Called at most once for a request, when its reply will come later.
  virtual std::unique_ptr<LateReply> defer() = 0;
};

class Engine {
 public:
  // What the engine uses; everything must outlive it. `forwarders` by ForwardStep::number.
  struct Parts {
    const Plan& plan;
    const IndexBoard& board;
    Shard& shard;
    ErrorBoard& errors;
    const Clock& clock;
    std::vector<Forwarder*> forwarders;
  };
  Engine(Parts parts, const Log& log);
  ~Engine();
  Engine(const Engine&) = delete;

  // Around the requests that one wake-up brings: takes the newest index, and notes durations.
  void begin_batch();
  void end_batch();

  // Writes the reply into `out`, which has room for the largest reply of that transport; its size,
  // or 0 when there is none: dropped, or later through origin.defer().
  size_t handle(Bytes packet, const Site& site, Origin& origin, uint8_t* out);

 private:
  struct Late;
  struct Served {  // what a reply is accounted to
    const Block* block = nullptr;
    size_t slot = 0;
    AnsweredBy by = AnsweredBy::nobody;
    uint8_t rcode = 0;
  };

  // Whether the chain has been at the target of step `chain` before.
  bool closes_loop(int chain) const;
  size_t refuse(uint8_t rcode, const Site& site, Origin& origin, uint8_t* out);
  size_t run_steps(const Site& site, const ServedZone& zone, Origin& origin, uint8_t* out);
  const ForwardStep* find_forward(const Block& block, const FoldedName& name) const;
  size_t start_forward(const ForwardStep& step, const Question& question, const Site& site,
                       const Served& served, Origin& origin, uint8_t* out);
  void finish_late(Late& late, Result<std::string> reply);
  size_t pass_on(Late& late, std::string& reply, Served& served);
  size_t add_target(Late& late, const std::string& reply, Served& served);
  size_t finish(const Served& served, Origin& origin, const uint8_t* out);

  // The steps after the answer, in reverse order of the chain: log, errors, prometheus.
  void after(const Served& served, bool tcp, bool ipv6, Bytes reply);
  void write_log(const Served& served, bool tcp, const SocketAddress& client, Bytes reply,
                 MonoTime begun);
  void report_failure(const Served& served, std::string_view why);

  Parts parts_;
  Log log_;
  uint64_t seen_ = 0;
  std::shared_ptr<const Indexes> indexes_;
  MonoTime batch_begun_{};
  size_t batch_slot_ = 0;
  uint64_t batch_queries_ = 0;

  Request request_;  // of the request or the late reply at hand
  MessageWriter writer_;
  static constexpr int max_cname_chain = 10;
  std::array<FollowTarget, max_cname_chain> follow_;  // the targets of one chain
  std::vector<uint8_t> late_buffer_;  // of max_message_bytes, made when it is first needed
};

}  // namespace fairlead::dns
