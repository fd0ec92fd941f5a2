"""One message that a sender's Postfix gives to two servers, of which one takes eight bits and the other does not, is one message to a homecoming."""

from __future__ import annotations

import shutil
import smtplib
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from failsafe.mail.fingerprint import Fingerprint, fingerprint, same
from tests.contract.mail_servers import DOMAIN, Postfix, _folder, _require
from tests.corpus.ordinary import ordinary
from tests.support import wait_until

EIGHT, SEVEN = f"eight@{DOMAIN}", f"seven@{DOMAIN}"
SETTINGS = """\
virtual_mailbox_maps = inline:{{ {eight}=here, {seven}=here }}
transport_maps = inline:{{ {{ {eight} = smtp:[127.0.0.1]:{eight_port} }}, {{ {seven} = smtp:[127.0.0.1]:{seven_port} }} }}
smtp_host_lookup = native
local_header_rewrite_clients =
"""


class Exchange(socketserver.ThreadingTCPServer):
    """Takes all that comes by SMTP, and keeps it."""

    daemon_threads = True

    def __init__(self, *offers: str) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.offers, self.taken = offers, list[bytes]()


class Session(socketserver.StreamRequestHandler):
    server: Exchange

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    def handle(self) -> None:
        self.say("220 exchange ESMTP")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.say("250-exchange", *(f"250-{offer}" for offer in self.server.offers), "250 HELP")
            elif verb == b"DATA":
                self.say("354 go on")
                self.server.taken.append(self._message())
                self.say("250 taken")
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def _message(self) -> bytes:
        lines: list[bytes] = []
        for line in self.rfile:
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)


@contextmanager
def exchange(*offers: str) -> Iterator[Exchange]:
    with Exchange(*offers) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def delivered() -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Every ordinary letter, as each of the two servers got it."""
    _require("/usr/sbin/postfix")
    folder = _folder()
    with exchange("8BITMIME", "PIPELINING") as eight, exchange() as seven:
        ports = {"eight_port": eight.server_address[1], "seven_port": seven.server_address[1]}
        server = Postfix(folder, {"good": ()}, SETTINGS.format(eight=EIGHT, seven=SEVEN, **ports))
        with (folder / "master.cf").open("a") as master:
            master.write("smtp unix - - n - - smtp\n")
        try:
            server.start()
            with smtplib.SMTP("127.0.0.1", server.ports["good"], timeout=20) as sender:
                sender.ehlo("sender.example.net")
                for odd in ordinary():
                    sender.sendmail("bob@example.net", [EIGHT, SEVEN], odd.data, mail_options=["BODY=8BITMIME"])
            wait_until(lambda: len(eight.taken) == len(seven.taken) == len(ordinary()), 60, "all letters have gone to both")
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)
    yield eight.taken, seven.taken


def prints(messages: list[bytes]) -> list[Fingerprint]:
    return sorted((fingerprint([message]) for message in messages), key=lambda each: (each.content, each.message_id or ""))


def test_a_letter_is_the_same_at_both_servers_whatever_was_done_to_its_bytes(delivered: tuple[list[bytes], list[bytes]]) -> None:
    eight, seven = delivered

    assert prints(eight) == prints(seven)
    assert any(not message.isascii() for message in eight)
    assert all(message.partition(b"\r\n\r\n")[2].isascii() for message in seven)


def test_each_is_the_letter_that_was_sent_and_no_other(delivered: tuple[list[bytes], list[bytes]]) -> None:
    came = prints(delivered[1])
    sent = {odd.name: fingerprint([odd.data]) for odd in ordinary()}

    assert [name for name, known in sent.items() if sum(same(known, each) for each in came) != 1] == []
