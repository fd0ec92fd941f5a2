"""A resolver on loopback that knows the records it is given, and answers at once that there is nothing else."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = Mapping[tuple[str, str], Sequence[str]]  # (name, type) -> as a zone file has them


@contextmanager
def resolving(records: Records) -> Iterator[str]:
    """Its address, HOST:PORT."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, socket = self.request
            socket.sendto(_answer(data, records), self.client_address)

    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def _answer(data: bytes, records: Records) -> bytes:
    query: Any = dns.message.from_wire(data)
    question = query.question[0]
    name, kind = question.name.to_text().rstrip(".").lower(), dns.rdatatype.to_text(question.rdtype)
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    found = records.get((name, kind), ())
    if found:
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
    elif not any(known == name for known, _kind in records):
        response.set_rcode(dns.rcode.NXDOMAIN)
    wire: bytes = response.to_wire()
    return wire
