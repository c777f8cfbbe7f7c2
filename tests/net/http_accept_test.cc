// A server that runs out of descriptors: nobody is served meanwhile, and everybody afterwards.
#include <fcntl.h>
#include <sys/resource.h>

#include "tests/net/raw_client.h"

namespace fairlead::net {
namespace {

// No descriptor above those that are open now can be made while this lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const Fd lowest(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const rlimit none{static_cast<rlim_t>(lowest.get()), before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoDescriptors() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
};

TEST(HttpServerAccept, WaitsAMomentWhenThereAreNoDescriptors) {
  HttpRig rig(Transport::tcp, echo);
  RawClient served(rig);
  served.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(served.wait_for("<GET /1 >"));
  RawClient waits(rig);
  {
    const NoDescriptors none;
    ASSERT_TRUE(rig.run_until([&] { return !rig.sink.text().empty(); }));
    for (int i = 0; i < 20; ++i) rig.loop.run_once(Duration::zero());
    EXPECT_EQ(rig.sink.text().find("cannot accept connections"),
              rig.sink.text().rfind("cannot accept connections"))
        << "it must not ask again at once:\n"
        << rig.sink.text();
    EXPECT_NE(rig.sink.text().find("Too many open files"), std::string::npos) << rig.sink.text();
    served.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(served.wait_for("<GET /2 >")) << "those who are there are served on";
    EXPECT_EQ(rig.server.connections(), 1u);
  }
  waits.send(get_close);
  EXPECT_TRUE(waits.wait_for("<GET /last >"));
}

TEST(HttpServerAccept, ClientThatLeavesAtOnceLeavesNothingBehind) {
  for (const Transport transport : {Transport::tcp, Transport::unix_socket}) {
    SCOPED_TRACE(transport_name(transport));
    HttpRig rig(transport, echo);
    for (int i = 0; i < 100; ++i) {
      RawClient client(rig);
      if (i % 2 == 0) client.finish_sending();
      client.close();
    }
    RawClient last(rig);
    last.send(get_close);
    EXPECT_TRUE(last.wait_for("<GET /last >"));
    last.close();
    EXPECT_TRUE(rig.run_until([&] { return rig.server.connections() == 0; }));
  }
}

}  // namespace
}  // namespace fairlead::net
