// What becomes of a request that no endpoint answers as a whole, and what is noted of every one.
#include "ingress/connection.h"

namespace fairlead::ingress {

void Connection::refuse(const Refusal& refusal) {
  core_.metrics.refused.add();
  phase_ = Phase::exchange;
  x_.note = refusal.why;
  std::string_view field;
  if (refusal.status == 426) field = "Sec-WebSocket-Version: 13";
  if (refusal.status == 405) field = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
  answer({refusal.status, refusal.why, field}, true);
}

// An answer of our own, in place of a response. Whatever was under way towards an endpoint ends.
void Connection::answer(const Answer& answer, bool close) {
  drop_upstream();
  x_.bytes_received += in_.frame(x_.request_body);
  in_.sent(in_.ready().size());
  const bool unread = !x_.request_body.done();
  x_.keep_alive = x_.keep_alive && !close && !unread;
  x_.status = answer.status;
  x_.response_head = true;
  x_.response_body = BodyFramer();
  back_.release();
  const ResponseStyle style{.date = core_.date(),
                            .close = !x_.keep_alive,
                            .keep_alive = x_.version == 10 && x_.keep_alive};
  pending_.produced(write_answer(answer, style, !x_.facts.is_head, pending_.space()));
  set_deadline(core_.limits.body_timeout);
  pump_response();
}

// The client must not take what it has for the whole.
void Connection::abort_response(std::string_view why) {
  x_.note = why;
  record();
  client_.reset_on_close();
  close();
}

void Connection::record() {
  const RouteOwner* owner = x_.route == nullptr ? nullptr : x_.route->owner.get();
  const Duration duration = core_.loop.now() - x_.started;
  core_.metrics.count(owner, x_.status, std::chrono::duration<double>(duration).count());
  if (!core_.log.enabled()) return;
  AccessEntry entry{
      .time = core_.wall() - std::chrono::duration_cast<WallTime::duration>(duration),
      .duration = duration,
      .client = x_.real_client.empty() ? peer_text_ : x_.real_client,
      .method = x_.method,
      .host = x_.host,
      .target = x_.target,
      .user_agent = x_.user_agent,
      .referer = x_.referer,
      .request_id = x_.request_id,
      .upstream = upstream_ == nullptr ? std::string_view(x_.upstream) : upstream_->address_text(),
      .note = x_.note,
      .version = x_.version,
      .status = x_.status,
      .bytes_sent = x_.bytes_sent,
      .bytes_received = x_.bytes_received,
      .tries = x_.tries,
      .tls = arrival_.tls};
  if (owner != nullptr) {
    entry.ingress_namespace = owner->ingress.ns;
    entry.ingress = owner->ingress.name;
    entry.service = owner->service;
  }
  core_.log.add(entry);
}

}  // namespace fairlead::ingress
