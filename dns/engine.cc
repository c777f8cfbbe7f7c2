#include "dns/engine.h"

#include <cstring>

#include "base/text.h"
#include "dns/plugins/log/format.h"

namespace fairlead::dns {
namespace {

uint8_t rcode_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::not_implemented:
      return rcode::not_imp;
    case Verdict::bad_version:
      return rcode::bad_vers;
    default:
      return rcode::form_err;
  }
}

// Zone transfers are not offered, and must not be had through a forwarder either.
bool is_transfer(uint16_t type) { return type == type::axfr || type == type::ixfr; }

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// The question for a CNAME's target, with an OPT so that long answers need no TCP.
std::string target_query(uint16_t id, const FoldedName& name, uint16_t type) {
  std::string wire(header_bytes, '\0');
  wire += name.from(0);
  wire.resize(wire.size() + 4 + opt_bytes);
  auto* p = reinterpret_cast<uint8_t*>(wire.data());
  write16(p, id);
  write16(p + 2, flag::rd);
  write16(p + 4, 1);
  write16(p + 10, 1);
  uint8_t* end = p + header_bytes + name.size;
  write16(end, type);
  write16(end + 2, klass::in);
  write16(end + 5, type::opt);
  write16(end + 7, max_udp_bytes);
  return wire;
}

}  // namespace

// A request whose reply waits for an upstream.
struct Engine::Late {
  std::string packet;
  const Site* site;
  Served served;
  std::unique_ptr<LateReply> reply;
  bool tcp, ipv6;
  SocketAddress client;
  MonoTime begun;
  // Only when the question is a CNAME's target: the reply so far.
  std::string partial;
  MessageWriter writer;
  FollowTarget target;
};

Engine::Engine(Parts parts, const Log& log) : parts_(std::move(parts)), log_(log) {}
Engine::~Engine() = default;

void Engine::begin_batch() {
  parts_.board.refresh(seen_, indexes_);
  batch_begun_ = parts_.clock.now();
}

void Engine::end_batch() {
  if (batch_queries_ == 0) return;
  parts_.shard.observe_duration(batch_slot_, parts_.clock.now() - batch_begun_, batch_queries_);
  batch_queries_ = 0;
}

size_t Engine::handle(Bytes packet, const Site& site, Origin& origin, uint8_t* out) {
  const Verdict verdict = parse_request(packet, request_);
  if (verdict == Verdict::drop) {
    parts_.shard.dropped_packets.add();
    return 0;
  }
  if (verdict != Verdict::ok) return refuse(rcode_of(verdict), site, origin, out);
  const ServedZone* zone = site.route(request_.name, request_.type);
  if (zone == nullptr || request_.klass != klass::in || is_transfer(request_.type)) {
    return refuse(rcode::refused, site, origin, out);
  }
  writer_.begin(request_, out, reply_limit(request_, origin.tcp()));
  if (site.recursion) writer_.set_flags(flag::ra);
  return run_steps(site, *zone, origin, out);
}

size_t Engine::refuse(uint8_t rcode, const Site& site, Origin& origin, uint8_t* out) {
  writer_.begin(request_, out, reply_limit(request_, origin.tcp()));
  if (site.recursion) writer_.set_flags(flag::ra);
  return finish({.slot = site.slot, .rcode = rcode}, origin, out);
}

const ForwardStep* Engine::find_forward(const Block& block, const FoldedName& name) const {
  for (const auto& step : block.forwards) {
    if (step.takes(name)) return &step;
  }
  return nullptr;
}

bool Engine::closes_loop(int chain) const {
  const auto last = follow_.begin() + chain;
  const std::string_view target = last->name.from(0);
  return target == request_.name.from(0) ||
         std::any_of(follow_.begin(), last,
                     [&](const FollowTarget& one) { return one.name.from(0) == target; });
}

size_t Engine::run_steps(const Site& site, const ServedZone& first, Origin& origin, uint8_t* out) {
  const FoldedName* name = &request_.name;
  NameRef owner = question_name;
  const ServedZone* zone = &first;
  Served served{.block = &parts_.plan.blocks[first.block], .slot = first.slot};
  for (int chain = 0; chain < max_cname_chain; ++chain) {
    const Question question{*name, request_.type, owner};
    const Block& block = parts_.plan.blocks[zone->block];
    const ForwardStep* forward = find_forward(block, *name);
    const auto match = block.kubernetes ? block.kubernetes->match_zone(*name) : std::nullopt;
    if (match) {
      const ZoneIndex* index = indexes_ ? (*indexes_)[block.index].get() : nullptr;
      FollowTarget& follow = follow_[static_cast<size_t>(chain)];
      const Found found =
          block.kubernetes->answer(question, *match, index, request_.id, writer_, follow);
      const bool passes = found == Found::name_error || found == Found::unsynced;
      if (!passes || forward == nullptr || !block.kubernetes->falls_through(*name)) {
        served.by = AnsweredBy::kubernetes;
        if (found == Found::follow) {
          name = &follow.name;
          owner = follow.ref;
          zone = site.route(*name, request_.type);
          // The client must look elsewhere for the target, or there is nothing to be found.
          if (zone == nullptr || closes_loop(chain)) break;
          continue;
        }
        if (found != Found::records) {
          block.kubernetes->write_authority(question, *match, index, writer_);
        }
        if (found == Found::name_error) served.rcode = rcode::nx_domain;
        if (found == Found::unsynced) served.rcode = rcode::serv_fail;
        break;
      }
    }
    if (forward != nullptr) return start_forward(*forward, question, site, served, origin, out);
    if (chain == 0) served.rcode = rcode::refused;
    break;
  }
  if (served.by == AnsweredBy::kubernetes && served.rcode != rcode::serv_fail) {
    writer_.set_flags(flag::aa);
  }
  if (served.rcode == rcode::serv_fail && served.block->errors) {
    report_failure(served, "the cluster is not known yet");
  }
  return finish(served, origin, out);
}

size_t Engine::start_forward(const ForwardStep& step, const Question& question, const Site& site,
                             const Served& served, Origin& origin, uint8_t* out) {
  Forwarder& forwarder = *parts_.forwarders[step.number];
  if (!forwarder.has_room()) {
    parts_.shard.rejected_concurrent.add();
    return refuse(rcode::refused, site, origin, out);
  }
  auto late = std::make_shared<Late>(
      Late{.packet = std::string(request_.packet.begin(), request_.packet.end()),
           .site = &site,
           .served = served,
           .reply = origin.defer(),
           .tcp = origin.tcp(),
           .ipv6 = origin.ipv6(),
           .client = origin.client(),
           .begun = batch_begun_});
  std::string wire;
  if (question.owner == question_name) {
    wire = late->packet;
    // What the upstream may send is between it and us (RFC 6891 section 6.2.3).
    if (request_.edns.present) {
      write16(reinterpret_cast<uint8_t*>(wire.data()) + request_.edns.offset + 3, max_udp_bytes);
    }
  } else {
    late->partial.assign(reinterpret_cast<const char*>(out), writer_.size());
    late->writer = writer_;
    late->target = {question.name, question.owner};
    wire = target_query(request_.id, question.name, question.type);
  }
  forwarder.ask(std::move(wire),
                [this, late](Result<std::string> reply) { finish_late(*late, std::move(reply)); });
  return 0;
}

void Engine::finish_late(Late& late, Result<std::string> reply) {
  parse_request(bytes_of(late.packet), request_);
  if (late_buffer_.empty()) late_buffer_.resize(max_message_bytes);
  uint8_t* const buffer = late_buffer_.data();
  Served served = late.served;
  size_t size = 0;
  if (!reply) {
    served.rcode = rcode::serv_fail;
    served.by = AnsweredBy::forward;
    writer_.begin(request_, buffer, reply_limit(request_, late.tcp));
    writer_.set_flags(flag::ra);
    size = writer_.finish(rcode::serv_fail);
    if (served.block->errors) report_failure(served, reply.error().message);
  } else {
    size = late.partial.empty() ? pass_on(late, *reply, served) : add_target(late, *reply, served);
  }
  const Bytes bytes(buffer, size);
  const Duration duration = parts_.clock.now() - late.begun;
  if (!served.block->logs.empty()) write_log(served, late.tcp, late.client, bytes, late.begun);
  after(served, late.tcp, late.ipv6, bytes);
  parts_.shard.observe_duration(served.slot, duration);
  late.reply->send(bytes);
}

// The upstream's message as it is, in the client's spelling of the name.
size_t Engine::pass_on(Late& late, std::string& reply, Served& served) {
  auto* p = reinterpret_cast<uint8_t*>(reply.data());
  const uint16_t flags = read16(p + 2);
  served.rcode = flags & flag::rcode;
  served.by = AnsweredBy::forward;
  const size_t limit = reply_limit(request_, late.tcp);
  if (reply.size() > limit) {
    writer_.begin(request_, late_buffer_.data(), limit);
    writer_.set_flags(flags & (flag::aa | flag::ra | flag::ad));
    writer_.set_truncated();
    return writer_.finish(served.rcode);
  }
  std::memcpy(p + header_bytes, request_.packet.data() + header_bytes, request_.name.size);
  std::memcpy(late_buffer_.data(), p, reply.size());
  return reply.size();
}

// The upstream's records for the target of a CNAME, after that CNAME.
size_t Engine::add_target(Late& late, const std::string& reply, Served& served) {
  uint8_t* const buffer = late_buffer_.data();
  std::memcpy(buffer, late.partial.data(), late.partial.size());
  writer_.resume(late.writer, buffer);
  const Bytes bytes = bytes_of(reply);
  const auto view = MessageView::parse(bytes);  // checked when it came
  std::string owner, rdata;
  FoldedName folded;
  view->each_record([&](const RecordView& record) {
    const bool address = record.type == type::a || record.type == type::aaaa;
    if (record.section != Section::answer || record.klass != klass::in) return;
    if (!address && record.type != type::cname && record.type != type::dname) return;
    if (!read_name(bytes, record.owner, owner) || !folded.assign(owner)) return;
    if (address) {
      rdata.assign(reply, record.rdata, record.rdata_bytes);
    } else if (!read_name(bytes, record.rdata, rdata)) {
      return;
    }
    const bool is_target = folded.from(0) == late.target.name.from(0);
    writer_.raw(is_target ? late.target.ref : NameRef{0}, owner, record.type, record.ttl, rdata);
  });
  if ((view->flags() & flag::tc) != 0) writer_.set_truncated();
  writer_.set_flags(flag::aa);  // of the first owner name (RFC 1035 section 4.1.1)
  served.by = AnsweredBy::kubernetes;
  served.rcode = view->rcode();  // of the last name (RFC 6604 section 3)
  return writer_.finish(served.rcode);
}

size_t Engine::finish(const Served& served, Origin& origin, const uint8_t* out) {
  const size_t size = writer_.finish(served.rcode);
  const bool tcp = origin.tcp();
  if (served.block != nullptr && !served.block->logs.empty()) {
    write_log(served, tcp, origin.client(), {out, size}, batch_begun_);
  }
  after(served, tcp, origin.ipv6(), {out, size});
  if (served.slot != batch_slot_) {
    end_batch();
    batch_slot_ = served.slot;
  }
  ++batch_queries_;
  return size;
}

void Engine::after(const Served& served, bool tcp, bool ipv6, Bytes reply) {
  parts_.shard.count(served.slot, {.tcp = tcp,
                                   .ipv6 = ipv6,
                                   .dnssec_ok = request_.edns.dnssec_ok,
                                   .type = request_.type,
                                   .rcode = served.rcode,
                                   .by = served.by,
                                   .request_bytes = request_.packet.size(),
                                   .reply_bytes = reply.size()});
}

void Engine::write_log(const Served& served, bool tcp, const SocketAddress& client, Bytes reply,
                       MonoTime begun) {
  for (const auto& step : served.block->logs) {
    if (!step.zone.holds(request_.name)) continue;
    const bool no_error = served.rcode == rcode::no_error;
    const bool denial =
        served.rcode == rcode::nx_domain || (no_error && read16(reply.data() + 6) == 0);
    const bool wanted = denial     ? step.config->denial
                        : no_error ? step.config->success
                                   : step.config->error;
    if (!wanted) return;
    log_.info(format_log_line(step.config->format,
                              {.request = &request_,
                               .client = client,
                               .tcp = tcp,
                               .rcode = served.rcode,
                               .reply_flags = read16(reply.data() + 2),
                               .reply_bytes = reply.size(),
                               .duration_ns = (parts_.clock.now() - begun).count()}));
    return;
  }
}

void Engine::report_failure(const Served& served, std::string_view why) {
  const std::string line = cat(rcode_text(served.rcode), ' ', name_to_text(request_.name.from(0)),
                               ' ', type_text(request_.type), ": ", why);
  if (parts_.errors.add(line, parts_.clock.now())) log_.error(line);
}

}  // namespace fairlead::dns
