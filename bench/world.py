"""A little world on loopback for one daemon: a mail server that answers, name servers, a DNS provider. No root, no namespaces."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rrset

from tests.fakes.cloudflare_server import TOKEN, ZONE_ID, CloudflareServer

DOMAIN = "example.org"
PRIMARY, SECONDARY = f"mail.{DOMAIN}", "mx.second.example"
TTL = 60
POLL = {"poll_interval": 0.05}


class _Smtp(socketserver.StreamRequestHandler):
    """Says yes to everybody, as far as RCPT."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the daemon ends while it probes
            self._talk()

    def _talk(self) -> None:
        self.wfile.write(b"220 mail.example.org ESMTP\r\n")
        while verb := self.rfile.readline(1000)[:4].upper().strip():
            if verb == b"EHLO":
                self.wfile.write(b"250-mail.example.org\r\n250 PIPELINING\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


def _answer(query: bytes, records: frozenset[tuple[int, str]]) -> bytes:
    asked = dns.message.from_wire(query)
    answer = dns.message.make_response(asked)
    answer.flags |= dns.flags.AA
    question = asked.question[0]
    texts = {
        "MX": [f"{preference} {exchange.rstrip('.')}." for preference, exchange in sorted(records)],
        "SOA": [f"ns.{DOMAIN}. hostmaster.{DOMAIN}. 1 3600 600 86400 {TTL}"],
        "NS": [f"ns.{DOMAIN}."],
        "A": ["127.0.0.1"],
    }.get(dns.rdatatype.to_text(question.rdtype), [])
    if texts:
        answer.answer.append(dns.rrset.from_text_list(question.name, TTL, "IN", dns.rdatatype.to_text(question.rdtype), texts))
    return answer.to_wire()


@contextlib.contextmanager
def serving(server: Any) -> Iterator[int]:
    """Serve in a thread; gives the port."""
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs=POLL, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextlib.contextmanager
def smtp() -> Iterator[int]:
    """A mail server's port 25, on another port."""
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Smtp)) as port:
        yield port


@contextlib.contextmanager
def name_server(provider: CloudflareServer) -> Iterator[int]:
    """Says over UDP and TCP what the provider's zone holds."""

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, channel = self.request
            channel.sendto(_answer(query, provider.mx()), self.client_address)

    class Tcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while length := self.rfile.read(2):
                reply = _answer(self.rfile.read(int.from_bytes(length, "big")), provider.mx())
                self.wfile.write(len(reply).to_bytes(2, "big") + reply)

    with (
        serving(socketserver.ThreadingUDPServer(("127.0.0.1", 0), Udp)) as port,
        serving(socketserver.ThreadingTCPServer(("127.0.0.1", port), Tcp)),
    ):
        yield port


@contextlib.contextmanager
def world(folder: Path, *, provider: bool) -> Iterator[Path]:
    """Everything answers; gives a configuration of a home with one mail server (here, on this disk), one repository and one domain.

    `provider`: whether the domain's records can be changed through a DNS provider (a stand-in for Cloudflare), or only be looked at.
    """
    mail = folder / "mail" / DOMAIN / "alice"
    for part in ("cur", "new", "tmp"):
        (mail / part).mkdir(parents=True)
    (mail / "new" / "1.P1.host").write_bytes(b"Subject: one\r\n\r\nbody\r\n")
    for name, secret in (("password", "correct horse battery staple"), ("token", TOKEN)):
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(secret + "\n")
    with (
        CloudflareServer.running({DOMAIN: [(10, PRIMARY, TTL)]}) as cloudflare,
        smtp() as mail_port,
        name_server(cloudflare) as dns_port,
    ):
        references = [f"127.0.0.1:{port}" for port in (mail_port, dns_port, int(cloudflare.url.split(":")[2].split("/")[0]))]
        text = _configuration(folder, mail_port, dns_port, references)
        if provider:
            text = text.replace("# dns", 'dns = "cf"')
            text += f'[dns.cf]\nprovider = "cloudflare"\ntoken_file = "{folder}/token"\nzone_id = "{ZONE_ID}"\nbase_url = "{cloudflare.url}"\n'
        file = folder / "failsafe.toml"
        file.write_text(text)
        yield file


def _configuration(folder: Path, mail_port: int, dns_port: int, references: list[str]) -> str:
    listed = ", ".join(f'"{one}"' for one in references)
    return f"""\
[controller]
id = "nas"
state_dir = "{folder}/state"
time_zone = "Europe/Warsaw"
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
backup_every = "15m"
[repository.nas]
url = "{folder}/repository"
password_file = "{folder}/password"
[domain."{DOMAIN}"]
# dns
server = "vps"
primary = ["{PRIMARY}"]
secondary = ["{SECONDARY}"]
strategy = "on-demand"
mode = "auto"
quorum = 1
failback = "manual"
nameservers = ["127.0.0.1:{dns_port}"]
[probe.vps]
smtp = ["127.0.0.1:{mail_port}"]
recipient = "failsafe-probe@{DOMAIN}"
helo = "nas.{DOMAIN}"
[own_line]
references = [{listed}]
"""
