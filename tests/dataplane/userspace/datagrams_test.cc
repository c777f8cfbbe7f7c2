// Batches of datagrams: whose they are, to whom they were sent, and that each goes on as it came.
#include "dataplane/userspace/datagrams.h"

#include <gtest/gtest.h>

#include "dataplane/userspace/sockets.h"
#include "tests/dataplane/userspace/loopback_peers.h"

namespace fairlead::dataplane::userspace {
namespace {

const Ip loopback = Ip::v4(0x7f000001);

class DatagramsTest : public testing::Test {
 protected:
  DatagramsTest() : captured_(*open_captured_udp()) {
    dialled_ = {loopback, net::local_address(captured_.get())->port};
    for (net::Fd& client : clients_) client = *net::bind_udp({loopback, 0});
  }

  void send(const net::Fd& client, std::string_view data) {
    const net::RawAddress to = net::to_raw(dialled_);
    ASSERT_EQ(::sendto(client.get(), data.data(), data.size(), 0, to.get(), to.size),
              static_cast<ssize_t>(data.size()));
  }
  std::string text(int index) const {
    const auto data = datagrams_.data(index);
    return {reinterpret_cast<const char*>(data.data()), data.size()};
  }

  net::Fd captured_;
  SocketAddress dialled_;
  net::Fd clients_[2];
  Datagrams datagrams_;
};

TEST_F(DatagramsTest, EachSaysWhoSentItAndToWhom) {
  const std::string sizes[] = {"", "x", pattern(1472, 1), pattern(9000, 2), pattern(65507, 3)};
  for (const std::string& data : sizes) {
    for (const net::Fd& client : clients_) send(client, data);
  }
  ASSERT_EQ(datagrams_.receive(captured_.get(), true), 10);
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(text(i) == sizes[i / 2]) << i;
    EXPECT_EQ(datagrams_.dialled(i), dialled_) << "an IPv4 address as such, with its port";
    EXPECT_EQ(net::from_raw(datagrams_.sender(i).storage),
              *net::local_address(clients_[i % 2].get()));
  }
  EXPECT_EQ(datagrams_.receive(captured_.get(), true), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(DatagramsTest, MoreThanABatchWaitForTheNext) {
  const int most = static_cast<int>(Datagrams::most);
  for (int i = 0; i < most + 3; ++i) send(clients_[0], std::to_string(i));
  ASSERT_EQ(datagrams_.receive(captured_.get(), true), most);
  EXPECT_EQ(text(0), "0");
  EXPECT_EQ(text(most - 1), std::to_string(most - 1));
  ASSERT_EQ(datagrams_.receive(captured_.get(), true), 3);
  EXPECT_EQ(text(0), std::to_string(most)) << "nothing of the batch before";
}

TEST_F(DatagramsTest, AnswersLeaveFromTheDialledAddressInOrder) {
  const SocketAddress dialled{*Ip::parse("127.0.0.5"), 0};
  const net::Fd answering = *open_answering_udp(dialled);
  const net::RawAddress to = net::to_raw(*net::local_address(clients_[1].get()));
  for (int i = 0; i < 5; ++i) send(clients_[0], std::to_string(i));
  ASSERT_EQ(datagrams_.receive(captured_.get(), false), 5);
  ASSERT_EQ(datagrams_.send(answering.get(), 5, to), 5);
  for (int i = 0; i < 5; ++i) {
    char buffer[16];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const ssize_t got = ::recvfrom(clients_[1].get(), buffer, sizeof buffer, 0,
                                   reinterpret_cast<sockaddr*>(&from), &size);
    ASSERT_GT(got, 0);
    EXPECT_EQ(std::string(buffer, static_cast<size_t>(got)), std::to_string(i));
    EXPECT_EQ(net::from_raw(from).ip, dialled.ip);
  }
}

TEST_F(DatagramsTest, WhatCannotBeSentIsCounted) {
  for (int i = 0; i < 3; ++i) send(clients_[0], "x");
  ASSERT_EQ(datagrams_.receive(captured_.get(), false), 3);
  const net::RawAddress nowhere = net::to_raw({loopback, 0});
  EXPECT_EQ(datagrams_.send(clients_[1].get(), 3, nowhere), 0);
}

// Nobody hears of what is given to a socket that drops.
TEST(DroppingSocket, AnswersNeitherSynNorDatagram) {
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    const auto dropping = open_dropping(type);
    ASSERT_TRUE(dropping) << dropping.error().message;
    const SocketAddress address{loopback, net::local_address(dropping->get())->port};
    const net::RawAddress to = net::to_raw(address);
    const net::Fd client(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    const timeval briefly{0, 200'000};
    ::setsockopt(client.get(), SOL_SOCKET, SO_SNDTIMEO, &briefly, sizeof briefly);
    ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &briefly, sizeof briefly);
    const int connected = ::connect(client.get(), to.get(), to.size);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(connected, -1);
      EXPECT_EQ(errno, EINPROGRESS);
      continue;
    }
    ASSERT_EQ(connected, 0);
    char byte = 'x';
    EXPECT_EQ(::send(client.get(), &byte, 1, 0), 1);
    EXPECT_EQ(::recv(client.get(), &byte, 1, 0), -1);
    EXPECT_EQ(errno, EAGAIN) << "not refused";
    EXPECT_EQ(::recv(dropping->get(), &byte, 1, MSG_DONTWAIT), -1) << "nor heard";
  }
}

}  // namespace
}  // namespace fairlead::dataplane::userspace
