#include "controlplane/controllers/api_writer.h"

#include <utility>

namespace fairlead::controlplane {
namespace {

constexpr size_t max_answer_bytes = 16 * 1024 * 1024;

ApiAnswer read_answer(int status, const std::string& text) {
  ApiAnswer answer;
  answer.status = status;
  auto body = parse_json(text);
  if (body) answer.body = std::move(*body);
  if (answer.ok()) return answer;
  const std::string_view message = find_string(answer.body, "message");
  answer.error = message.empty() ? "status " + std::to_string(status) : std::string(message);
  return answer;
}

}  // namespace

ApiWriter::ApiWriter(net::EventLoop& loop, net::HttpTarget target, net::Headers headers)
    : client_(loop, std::move(target)), headers_(std::move(headers)) {}

void ApiWriter::send(std::string method, std::string path, const json::value& body, Done done) {
  const uint64_t id = next_++;
  net::HttpRequest request;
  request.method = std::move(method);
  request.target = std::move(path);
  request.headers = headers_;
  if (!body.is_null()) {
    request.headers.set("Content-Type", "application/json");
    request.body = json::serialize(body);
  }
  Call& call = calls_[id];
  call.done = std::move(done);
  call.http = client_.call(
      std::move(request),
      {.on_head = [this, id](const net::HttpHead& head) { calls_[id].status = head.status; },
       .on_data =
           [this, id](std::string_view bytes) {
             std::string& text = calls_[id].body;
             if (text.size() + bytes.size() <= max_answer_bytes) text += bytes;
           },
       .on_done = [this, id](Result<void> outcome) { finish(id, outcome); }});
}

void ApiWriter::finish(uint64_t id, const Result<void>& outcome) {
  auto node = calls_.extract(id);
  Call& call = node.mapped();
  ApiAnswer answer;
  if (outcome) {
    answer = read_answer(call.status, call.body);
  } else {
    answer.error = outcome.error().message;
  }
  call.done(answer);
}

}  // namespace fairlead::controlplane
