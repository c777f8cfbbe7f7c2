"""Connections on the addresses and ports of one that has ended: whose are they?"""
from frames import BACKEND, BACKEND6, CLIENT, MASQ, NODE, POD, POD6, VIP, VIP6, Case, frame, tcp_packet

FIN, SYN, RST, ACK = 1, 2, 4, 16


class Talk:
    """The packets of one client, a service and its backend, as ingress and egress see them."""

    def __init__(self, case, client, service, backend, port):
        self.case, self.client, self.service, self.backend = case, client, service, backend
        self.port = port

    def to_service(self, what, flags):
        self.case.step("ingress", what,
                       frame(tcp_packet(self.client, self.service, self.port, 80, flags)), "ok",
                       frame(tcp_packet(self.client, self.backend, self.port, 8080, flags)))

    def answer(self, flags):
        return frame(tcp_packet(self.backend, self.client, 8080, self.port, flags))

    def from_service(self, what, flags):
        self.case.step("egress", what, self.answer(flags), "ok",
                       frame(tcp_packet(self.service, self.client, 80, self.port, flags)))

    def from_backend(self, what, flags):
        self.case.same("egress", what, self.answer(flags))

    def opens(self):
        self.to_service("a connection to the service", SYN)
        self.from_service("is answered", SYN | ACK)

    def ends(self):
        self.to_service("the client has no more to say", FIN | ACK)
        self.from_service("neither has the backend", FIN | ACK)


def direct():
    case = Case("again_direct", "A client whose socket is translated dials the backend itself, from "
                                "ports that it has used for the service.")
    for client, service, backend in ((POD, VIP, BACKEND), (POD6, VIP6, BACKEND6)):
        talk = Talk(case, client, service, backend, 5000)
        talk.opens()
        talk.ends()
        talk.from_service("the last packet is late", ACK)
        talk.from_backend("the answer to a SYN that went to the backend", SYN | ACK)
        talk.from_backend("and what follows", ACK)
        talk.opens()
        talk.to_service("reset", RST)
        talk.from_backend("the answer to a SYN that went to the backend", SYN | ACK)
        talk.opens()
        talk.to_service("half closed", FIN | ACK)
        talk.from_service("the backend's first answer once more, since it missed the client's",
                          SYN | ACK)
        talk.from_service("neither has the backend more to say", FIN | ACK)
        talk.opens()
        talk.from_service("the backend goes on", ACK)
    case.write()


def masqueraded():
    case = Case("again_masqueraded", "A connection of ours that left as the node has ended; its "
                                     "client, and somebody else's NAT, use the ports again.")
    back = {flags: frame(tcp_packet(BACKEND, NODE, 8080, MASQ, flags))
            for flags in (ACK, SYN | ACK, FIN | ACK)}

    def to_node(flags):
        case.step("ingress", "to the NodePort", frame(tcp_packet(CLIENT, NODE, 5000, 30080, flags)),
                  "ok", frame(tcp_packet(CLIENT, BACKEND, 5000, 8080, flags)))
        case.step("egress", "as the node", frame(tcp_packet(CLIENT, BACKEND, 5000, 8080, flags)),
                  "ok", frame(tcp_packet(NODE, BACKEND, MASQ, 8080, flags)))

    def to_client(flags):
        case.step("ingress", "the answer", back[flags], "ok",
                  frame(tcp_packet(BACKEND, CLIENT, 8080, 5000, flags)))
        case.step("egress", "as the NodePort's",
                  frame(tcp_packet(BACKEND, CLIENT, 8080, 5000, flags)), "ok",
                  frame(tcp_packet(NODE, CLIENT, 30080, 5000, flags)))

    to_node(SYN)
    to_client(SYN | ACK)
    to_node(FIN | ACK)
    to_client(SYN | ACK)  # once more: the backend has heard nothing since
    to_client(FIN | ACK)
    case.same("egress", "the client dials the backend itself",
              frame(tcp_packet(CLIENT, BACKEND, 5000, 8080, SYN)))
    case.same("egress", "and goes on", frame(tcp_packet(CLIENT, BACKEND, 5000, 8080, ACK)))
    case.same("ingress", "the answer to a SYN of the node's own", back[SYN | ACK])
    case.same("ingress", "and what follows", back[ACK])
    to_node(SYN)
    to_client(SYN | ACK)
    case.write()
