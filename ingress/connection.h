// One client connection, and the request that is under way on it. connection.cc moves bytes and
// events; phases.cc is what happens to a request, in the order in which it happens; outcome.cc is
// how it ends.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "ingress/body_framer.h"
#include "ingress/buffer.h"
#include "ingress/client_stream.h"
#include "ingress/core.h"
#include "ingress/framing_guard.h"
#include "ingress/head_writer.h"
#include "ingress/upstream.h"

namespace fairlead::ingress {

struct Arrival {
  SocketAddress peer;
  uint16_t port = 0;  // that the client connected to
  bool tls = false;
};

class Connection final : public Deadline, public UpstreamUser {
 public:
  Connection(Core& core, const Arrival& arrival, ClientStream client);
  ~Connection() override = default;

  void start();
  void drain();  // closes it, now or after the answer under way
  void close();  // now
  void on_deadline() override;
  void on_upstream(uint32_t epoll_events) override;

  size_t index = 0;  // Core's

 private:
  // head: between requests, or reading a head. exchange: from a head to the end of the response.
  // linger: the last answer is sent; what still comes is thrown away, so that no reset overtakes
  // it.
  enum class Phase : uint8_t { head, exchange, tunnel, linger, closed };
  static constexpr size_t max_tries = 8;

  // One request. The views point into the pinned part of in_.
  struct Exchange {
    std::shared_ptr<const RouteTable> table;
    const Route* route = nullptr;
    const Backend* backend = nullptr;
    std::string_view method, target, host, user_agent, referer, request_id, real_client;
    std::string_view note;  // for the log: why it ended as it did
    int version = 11;
    RequestFacts facts;
    MonoTime started;
    BodyFramer request_body, response_body;
    uint64_t bytes_received = 0, bytes_sent = 0, sent_upstream = 0;
    int status = 0;
    unsigned tries = 0;
    unsigned tried_count = 0;
    unsigned interim = 0;                        // 1xx responses so far
    std::array<SocketAddress, max_tries> tried;  // endpoints that did not take a connection
    std::string upstream;                        // the last endpoint, once it is given up
    std::array<char, 32> generated_id;
    bool https = false;             // for the client, here or at a trusted peer
    bool keep_alive = false;        // towards the client, after this response
    bool upstream_keep = false;     // towards the endpoint
    bool upstream_deaf = false;     // it takes no more of the request
    bool upstream_shut = false;     // tunnel: it was told that there is no more
    bool client_shut = false;       // likewise the client
    bool response_started = false;  // the client has bytes of it
    bool response_head = false;     // the final head is written
    bool fresh_only = false;        // an idle connection has failed: open a new one
  };

  // connection.cc
  void on_client(uint32_t epoll_events);
  void after_event();
  void update_events();
  bool wants_client_bytes() const;
  bool wants_upstream_bytes() const;
  void read_client();
  void client_ended();
  void client_gone();
  void read_upstream();
  void set_deadline(Duration from_now);
  void progress();
  void drop_upstream();
  void end_connection(bool unread);

  // phases.cc, in order
  bool take_head();
  bool admit(std::string_view head);
  void find_route();
  void prepare_request();
  void dispatch();
  void connected();
  void pump_request();
  bool take_response_head();
  void take_interim(const ResponseFacts& facts);
  void begin_response(const ResponseFacts& facts);
  void begin_tunnel();
  void pump_response();
  void upstream_ended(bool failed);
  void upstream_lost(std::string_view why, int status);
  void finish();

  // outcome.cc
  void refuse(const Refusal& refusal);
  void answer(const Answer& answer, bool close);
  void abort_response(std::string_view why);
  void record();

  Core& core_;
  ClientStream client_;
  net::Watch watch_;
  uint32_t events_ = 0;
  Arrival arrival_;
  std::string peer_text_;
  bool trusted_peer_ = false;

  Phase phase_ = Phase::head;
  bool head_begun_ = false;      // its first byte is there: the deadline is the head's
  bool client_eof_ = false;      // half-closed: it sends no more
  bool client_blocked_ = false;  // the kernel takes no more for the client
  bool upstream_blocked_ = false;
  bool tls_unread_ = false;  // OpenSSL may hold bytes that epoll does not know of
  size_t lingered_bytes_ = 0;

  HeadScanner scanner_, response_scanner_;
  Buffer in_;        // client to endpoint: head, then the window of the body
  Buffer head_out_;  // request head as it is sent on; kept until no retry is possible
  Buffer back_;      // endpoint to client: head, then the window of the body
  Buffer pending_;   // response heads and own answers, not yet sent
  std::unique_ptr<Upstream> upstream_;
  Exchange x_;
};

}  // namespace fairlead::ingress
