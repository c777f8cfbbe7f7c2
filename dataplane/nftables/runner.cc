#include "dataplane/nftables/runner.h"

// The library's header sets this without looking.
#undef _GNU_SOURCE
#include <nftables/libnftables.h>

#include "base/text.h"
#include "dataplane/nftables/table_reader.h"

namespace fairlead::dataplane {
namespace {

struct FreeContext {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};

// The first lines of what libnftables says: with a long transaction it quotes the whole line.
std::string brief(std::string_view message) {
  constexpr size_t max_line = 200;
  std::string out;
  size_t lines = 0;
  for (const std::string_view line : split(message, '\n')) {
    if (!line.starts_with("Error") && !line.starts_with("internal")) continue;
    if (!out.empty()) append(out, "; ");
    append(out, line.substr(0, max_line));
    if (++lines == 3) break;
  }
  return out.empty() ? "nft refused the commands without a reason" : out;
}

class LibNftables final : public NftRunner {
 public:
  Result<void> run(const std::string& commands) override {
    FL_TRY_VOID(open());
    const int failed = nft_run_cmd_from_buffer(context_.get(), commands.c_str());
    // Reading a buffer also empties it for the next command.
    const std::string error = nft_ctx_get_error_buffer(context_.get());
    nft_ctx_get_output_buffer(context_.get());
    return failed == 0 ? Result<void>() : fail(brief(error));
  }

  Result<std::optional<NftTable>> read_table(const std::string& name) override {
    FL_TRY_VOID(open_socket());
    return nft::read_table(*socket_, name);
  }

  Result<NftSet> read_set(const std::string& table, const std::string& set) override {
    FL_TRY_VOID(open_socket());
    return nft::read_set(*socket_, table, set);
  }

  Result<std::vector<std::string>> other_tables(const std::string& name) override {
    FL_TRY_VOID(open_socket());
    return nft::other_tables(*socket_, name);
  }

 private:
  Result<void> open() {
    if (context_ != nullptr) return {};
    context_.reset(nft_ctx_new(NFT_CTX_DEFAULT));
    if (context_ == nullptr) return fail("libnftables: no context (netlink socket refused)");
    nft_ctx_buffer_output(context_.get());
    nft_ctx_buffer_error(context_.get());
    return {};
  }

  Result<void> open_socket() {
    if (socket_) return {};
    FL_TRY(auto socket, net::Nfnetlink::open());
    socket_.emplace(std::move(socket));
    return {};
  }

  std::unique_ptr<nft_ctx, FreeContext> context_;
  std::optional<net::Nfnetlink> socket_;
};

}  // namespace

std::unique_ptr<NftRunner> make_nft_runner() { return std::make_unique<LibNftables>(); }

}  // namespace fairlead::dataplane
