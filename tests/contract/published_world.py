"""A small internet inside network and mount namespaces of its own: root, registry, signed zones, a resolver, web and mail, each at its real port.

Every domain in it is good but for one planted fault; `WORLD` says which. Knot signs the zones itself, Unbound is the machine's resolver.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.message
import dns.name
import dns.query

from tests.lab.pki import Authority
from tests.support import wait_until

RESOLVER, HOSTING, ABOVE, NOBODY, SECOND = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
PRIMARY, SECONDARY, LISTED, NAMELESS, ASTRAY, UNWANTED = (f"198.51.100.{last}" for last in (7, 8, 9, 10, 11, 12))
WEB = "198.51.100.80"
SECRET = base64.b64encode(b"0" * 32).decode()
AWAY = "mx.away.example"
POLICY = "version: STSv1\nmode: enforce\nmx: mail.{domain}\nmx: mx.away.example\nmax_age: 604800\n"
REGISTRIES = ("org", "xyz")
BOOTSTRAP = "https://registry.example/dns.json"


@dataclass(frozen=True)
class Planted:
    """One domain. `change` edits the lines of its zone; what it should be found to have: code -> severity; nothing else."""

    found: Mapping[str, str] = field(default_factory=dict)
    change: Callable[[str], str] = lambda text: text
    policy: str = POLICY
    policy_status: int = 200
    policy_name: str = ""  # in the certificate, where it is another one
    policy_host: str = WEB
    signed: bool = True
    ds: str = "own"  # own | none | foreign
    served_by: str = HOSTING  # as the registry says
    ends: str = "2099-01-01T00:00:00Z"
    second: bool = False  # a second name server has the zone, too, and does not sign it
    server: str = "vps"
    mail: str = PRIMARY


@dataclass(frozen=True)
class PlantedServer:
    """A mail server of one domain, and what it should be found to have."""

    domain: str
    address: str
    found: Mapping[str, str]


def without(word: str) -> Callable[[str], str]:
    return lambda text: "\n".join(line for line in text.splitlines() if word not in line)


def instead(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text, (old, text)
        return text.replace(old, new)

    return change


def also(line: str) -> Callable[[str], str]:
    return lambda text: f"{text}\n{line}"


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - it ends by everybody's clock


SERVERS: Mapping[str, PlantedServer] = {
    "listed": PlantedServer("listed.org", LISTED, {"dnsbl": "fail"}),
    "nameless": PlantedServer("nameless.org", NAMELESS, {"ptr": "fail"}),
    "astray": PlantedServer("astray.org", ASTRAY, {"ptr": "fail"}),
}

WORLD: Mapping[str, Planted] = {
    "good.org": Planted(),
    "unsigned.org": Planted({"dane": "warn"}, signed=False, ds="none"),
    "bogus.org": Planted({"dnssec": "fail", "dane": "fail"}, ds="foreign"),
    "half.org": Planted({"dnssec": "fail", "dane": "fail"}, also(f"@ IN NS ns2\nns2 IN A {SECOND}"), second=True),
    "stale.org": Planted({"dane": "fail"}, lambda text: re.sub(r"TLSA 3 1 1 \w+", f"TLSA 3 1 1 {'00' * 32}", text)),
    "moved.org": Planted({"ns-delegation": "fail"}, served_by="elsewhere"),
    "lonely.org": Planted({"ns-delegation": "warn"}, also(f"@ IN NS ns2\nns2 IN A {HOSTING}")),
    "unlisted.org": Planted({"mta-sts": "fail"}, policy=POLICY.replace("mx: mx.away.example\n", "")),
    "badcert.org": Planted({"mta-sts": "warn"}, policy_name="mta-sts.other.org"),
    "redirect.org": Planted({"mta-sts": "warn"}, policy_status=301),
    "onprimary.org": Planted({"mta-sts-host": "warn"}, policy_host=PRIMARY),
    "mute.org": Planted({"tls-rpt": "warn"}, without("_smtp._tls")),
    "mx-spf.org": Planted({"spf": "warn"}, instead("v=spf1 a:mail.mx-spf.org", "v=spf1 mx")),
    "two-spf.org": Planted({"spf": "fail"}, also('@ IN TXT "v=spf1 -all"')),
    "keyless.org": Planted({"dkim": "warn"}, without("mail._domainkey")),
    "no-dmarc.org": Planted({"dmarc": "warn"}, without("_dmarc")),
    "ending.org": Planted({"domain-expiry": "fail"}, ends="2020-01-01T00:00:00Z"),
    "null.org": Planted({"mx-explicit": "fail", "mx-layout": "fail"}, instead("@ IN MX 10 mail.null.org.", "@ IN MX 0 .")),
    "proxied.org": Planted(
        {"mx-target": "fail", "mx-layout": "fail"}, instead("@ IN MX 10 mail.proxied.org.", "@ IN MX 10 _dc-mx.4f.proxied.org.")
    ),
    "alias.org": Planted({"mx-target": "fail"}, instead(f"mail IN A {PRIMARY}", "mail IN CNAME host\nhost IN A 198.51.100.7")),
    "expiring.org": Planted({"domain-expiry": "warn"}, ends=in_days(20)),
    "revoked.org": Planted({"dkim": "fail"}, lambda text: re.sub(r'p=\w[^"]{100,}" "[^"]+"', 'p="', text)),
    "mistrusted.xyz": Planted({"tld-reputation": "warn"}),
    **{each.domain: Planted(server=name, mail=each.address) for name, each in SERVERS.items()},
}


def zone_text(domain: str, planted: Planted, key: str, tlsa: str) -> str:
    halves = f'"v=DKIM1; k=rsa; p={key[:200]}" "{key[200:]}"'
    text = f"""@ IN SOA ns1 hostmaster 1 3600 900 86400 60
@ IN NS ns1
ns1 IN A {HOSTING}
@ IN MX 10 mail.{domain}.
mail IN A {planted.mail}
_25._tcp.mail IN TLSA {tlsa}
@ IN TXT "v=spf1 a:mail.{domain} include:_spf.away.example ~all"
mail._domainkey IN TXT {halves}
away1._domainkey IN CNAME away1.dkim.away.example.
_dmarc IN TXT "v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}"
_mta-sts IN TXT "v=STSv1; id=1;"
mta-sts IN A {planted.policy_host}
_smtp._tls IN TXT "v=TLSRPTv1; rua=mailto:reports@away.example"
"""
    return f"$ORIGIN {domain}.\n$TTL 60\n{planted.change(text)}\n"


def above_text(key: str) -> dict[str, str]:
    """The zones above and beside, but for the delegations of the registries."""
    head = "$TTL 60\n@ IN SOA ns.above.example. hostmaster.above.example. 1 3600 900 86400 60\n@ IN NS ns.above.example.\n"
    return {
        ".": f"{head}ns.above.example. IN A {ABOVE}\n"
        + "".join(f"{name}. IN NS ns.above.example.\n" for name in ("example", "arpa", *REGISTRIES)),
        **dict.fromkeys(REGISTRIES, head),
        "arpa": f"{head}7.100.51.198.in-addr IN PTR mail.good.org.\n9.100.51.198.in-addr IN PTR mail.listed.org.\n"
        "11.100.51.198.in-addr IN PTR mail.good.org.\n",
        "example": f"""{head}ns.above IN A {ABOVE}
mx.away IN A {SECONDARY}
registry IN A {WEB}
_spf.away IN TXT "v=spf1 ip4:{SECONDARY} -all"
away1.dkim.away IN TXT "v=DKIM1; k=rsa; p={key[:200]}" "{key[200:]}"
2.0.0.127.bl IN A 127.0.0.2
9.100.51.198.bl IN A 127.0.0.4
12.100.51.198.bl IN A 127.0.0.4
test.dbl IN A 127.0.1.2
listed.org.dbl IN A 127.0.1.2
*.uncivil IN A 127.0.0.1
2.0.0.127.closed IN TXT "no A record any more"
*.refusing IN A 127.255.255.254
*.everything IN A 127.0.0.2
""",
    }


KNOT = """
server:
    listen: {address}@53
    rundir: "{folder}"
    user: root
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{folder}"
log:
  - target: stderr
    any: warning
key:
  - id: failsafe.
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: writer
    key: failsafe.
    action: update
policy:
  - id: one
    single-type-signing: on
template:
  - id: default
    storage: "{folder}"
    file: "{folder}/%s.zone"
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    semantic-checks: off
    acl: writer
    dnssec-policy: one
zone:
"""

UNBOUND = """
server:
    interface: {resolver}
    port: 53
    do-ip6: no
    do-daemonize: no
    do-not-query-localhost: no
    access-control: 127.0.0.0/8 allow
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    num-threads: 1
    module-config: "iterator"
    unblock-lan-zones: yes
    insecure-lan-zones: yes
    local-zone: "100.51.198.in-addr.arpa." nodefault
stub-zone:
    name: "."
    stub-addr: {above}@53
    stub-prime: no
"""


@contextmanager
def knot(folder: Path, address: str, zones: Mapping[str, tuple[str, bool]]) -> Iterator[None]:
    """`zones`: name -> (text, signed)."""
    folder.mkdir()
    for name, (text, _signed) in zones.items():
        (folder / f"{name.strip('.') or 'root'}.zone").write_text(text)
    rows = "".join(
        f'  - domain: "{name.strip(".")}."\n    file: "{folder}/{name.strip(".") or "root"}.zone"\n'
        f"    dnssec-signing: {'on' if signed else 'off'}\n"
        for name, (_text, signed) in zones.items()
    )
    (folder / "knot.conf").write_text(KNOT.format(folder=folder, address=address, secret=SECRET) + rows)
    with running(["knotd", "-c", str(folder / "knot.conf")], folder):
        for name, (_text, signed) in zones.items():
            wait_until(
                lambda name=name, signed=signed: loaded(address, name, signed), 30, f"{name}: {(folder / 'log').read_text()}"
            )
        yield


def loaded(address: str, name: str, signed: bool) -> bool:
    """A zone is signed a moment after it answers."""
    try:
        response = dns.query.udp(
            dns.message.make_query(f"{name.strip('.')}.", "DNSKEY" if signed else "SOA"), address, timeout=0.5
        )
    except dns.exception.Timeout:
        return False
    return bool(response.answer)


def ds_of(domain: str) -> str:
    response = dns.query.tcp(dns.message.make_query(f"{domain}.", "DNSKEY"), HOSTING, timeout=3)
    return dns.dnssec.make_ds(dns.name.from_text(domain), response.answer[0][0], "SHA256").to_text()


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[None]:
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.kill()


# -- web and mail --------------------------------------------------------------------------------------------------------


class Web(BaseHTTPRequestHandler):
    """Policies, IANA's list and the registry, chosen by the name that was asked for."""

    asked: list[str] = []  # noqa: RUF012 - one for all, on purpose

    def do_GET(self) -> None:
        host = self.headers["Host"]
        Web.asked.append(f"{host}{self.path}")
        domain = host.removeprefix("mta-sts.")
        planted = WORLD.get(domain)
        if host == "registry.example":
            self._registry()
        elif planted is None or self.path != "/.well-known/mta-sts.txt":
            self._answer(404, "text/plain", "not here")
        else:
            self._answer(planted.policy_status, "text/plain; charset=utf-8", planted.policy.format(domain=domain))

    def _registry(self) -> None:
        if self.path == "/dns.json":
            return self._answer(
                200, "application/json", json.dumps({"services": [[list(REGISTRIES), ["https://registry.example/rdap/"]]]})
            )
        planted = WORLD.get(self.path.removeprefix("/rdap/domain/"))
        if planted is None:
            return self._answer(404, "application/rdap+json", "{}")
        events = [
            {"eventAction": "registration", "eventDate": "2001-01-01T00:00:00Z"},
            {"eventAction": "expiration", "eventDate": planted.ends},
        ]
        return self._answer(200, "application/rdap+json", json.dumps({"status": ["active"], "events": events}))

    def _answer(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status == 301:
            self.send_header("Location", "https://mta-sts.good.org/.well-known/mta-sts.txt")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments: object) -> None:
        pass


def web_context(folder: Path, authority: Authority) -> ssl.SSLContext:
    """One certificate for each policy host, chosen by the name in the handshake."""
    names = {f"mta-sts.{domain}": planted.policy_name or f"mta-sts.{domain}" for domain, planted in WORLD.items()}
    contexts = {
        asked: server_context(folder, authority, name)
        for asked, name in (names | {"registry.example": "registry.example"}).items()
    }

    def choose(line: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        line.context = contexts.get(name or "", line.context)

    first = contexts["registry.example"]
    first.sni_callback = choose  # type: ignore[assignment]
    return first


def server_context(folder: Path, authority: Authority, name: str, *others: str) -> ssl.SSLContext:
    certificate, key = authority.issue([name, *others], WEB)
    file = folder / f"{name}.pem"
    file.write_text(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


class Smtp(socketserver.StreamRequestHandler):
    """Greets, offers STARTTLS and takes every recipient."""

    context: ssl.SSLContext

    def handle(self) -> None:
        self._talk(self.request, greet=True)

    def _talk(self, line: socket.socket, *, greet: bool) -> None:
        lines = line.makefile("rb")
        if greet:
            line.sendall(b"220 mail.good.org ESMTP\r\n")
        for raw in lines:
            word = raw.split()[0].upper() if raw.split() else b""
            if word == b"STARTTLS":
                line.sendall(b"220 go on\r\n")
                with self.context.wrap_socket(line, server_side=True) as secret:
                    return self._talk(secret, greet=False)
            line.sendall(
                b"221 bye\r\n"
                if word == b"QUIT"
                else b"250-mail.good.org\r\n250 STARTTLS\r\n"
                if word == b"EHLO"
                else b"250 ok\r\n"
            )
            if word == b"QUIT":
                return None
        return None


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Mail(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class _Pages(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not believe the certificate is what some tests want."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def world(folder: Path) -> Iterator[None]:
    """Everything runs, and this process asks it. Only inside namespaces of its own."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from failsafe.adapters.certificates import shown_certificate
    from failsafe.mail.tlsa import record_for

    ip("link", "set", "lo", "up")
    for address in (PRIMARY, SECONDARY, LISTED, NAMELESS, ASTRAY, WEB):
        ip("address", "add", f"{address}/32", "dev", "lo")
    (folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf"], check=True)
    authority = Authority()
    (folder / "authority.pem").write_text(authority.pem)
    os.environ["SSL_CERT_FILE"] = str(folder / "authority.pem")
    public = rsa.generate_private_key(65537, 2048).public_key()
    key = base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    Smtp.context = server_context(folder, authority, "mail.good.org", *(f"mail.{each.domain}" for each in SERVERS.values()))
    shown = shown_certificate(
        ssl.PEM_cert_to_DER_cert((folder / "mail.good.org.pem").read_text().partition("-----BEGIN PRIV")[0])
    )
    with ExitStack() as stack:
        hosted = {
            name: (zone_text(name, planted, key, str(record_for(shown))), planted.signed) for name, planted in WORLD.items()
        }
        stack.enter_context(knot(folder / "hosting", HOSTING, hosted))
        stack.enter_context(knot(folder / "second", SECOND, {"half.org": (hosted["half.org"][0], False)}))
        stack.enter_context(
            knot(folder / "above", ABOVE, {name: (text, False) for name, text in with_delegations(above_text(key)).items()})
        )
        (folder / "unbound").mkdir()
        (folder / "unbound" / "unbound.conf").write_text(
            UNBOUND.format(folder=folder / "unbound", resolver=RESOLVER, above=ABOVE)
        )
        stack.enter_context(running(["unbound", "-c", str(folder / "unbound" / "unbound.conf"), "-d"], folder / "unbound"))
        wait_until(lambda: loaded(RESOLVER, "good.org", signed=False), 30, f"Unbound: {(folder / 'unbound' / 'log').read_text()}")
        server = _Pages(("0.0.0.0", 443), Web)
        server.socket = web_context(folder, authority).wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        stack.enter_context(serving(server))
        stack.enter_context(serving(_Mail(("0.0.0.0", 25), Smtp)))
        yield


def with_delegations(zones: dict[str, str]) -> dict[str, str]:
    rows: dict[str, list[str]] = {name: [] for name in REGISTRIES}
    for domain, planted in WORLD.items():
        name, _, registry = domain.partition(".")
        place = NOBODY if planted.served_by == "elsewhere" else HOSTING
        server = "ns9" if planted.served_by == "elsewhere" else "ns1"
        rows[registry] += [f"{name} IN NS {server}.{domain}.", f"{server}.{domain}. IN A {place}"]
        if planted.second:
            rows[registry] += [f"{name} IN NS ns2.{domain}.", f"ns2.{domain}. IN A {SECOND}"]
        if planted.ds != "none":
            rows[registry].append(f"{name} IN DS {ds_of('good.org' if planted.ds == 'foreign' else domain)}")
    return zones | {registry: zones[registry] + "\n".join(lines) + "\n" for registry, lines in rows.items()}
