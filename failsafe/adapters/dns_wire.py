"""What the DNS adapters share of dnspython: addresses, MX answers, TSIG keys. No policy."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING

from failsafe.errors import DnsError, SecretError
from failsafe.model import MxSet
from failsafe.secrets import Secret, read_secret

if TYPE_CHECKING:
    import dns.message
    import dns.tsig

PORT = 53
_KEY_BLOCK = re.compile(r'key\s+"?(?P<name>[^\s"{]+)"?\s*\{(?P<body>[^}]*)\}', re.DOTALL)
_KEY_FIELD = re.compile(r'(algorithm|secret)\s+"?([^\s";]+)"?\s*;')


def split_address(text: str, port: int = PORT) -> tuple[str, int]:
    """`127.0.0.1:5353`, `[::1]:5353`, `::1` or `ns.example.net` as host and port. Raises DnsError."""
    host, found = text.strip(), ""
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        found = rest.removeprefix(":")
    elif host.count(":") == 1:
        host, _, found = host.partition(":")
    if not host or (found and not found.isdigit()):
        raise DnsError(
            f"{text!r} is no address of a name server",
            mend="write it as 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53",
            transient=False,
        )
    return host, int(found) if found else port


def is_ip(host: str) -> bool:
    """Whether it is an IP address, and no name that has yet to be looked up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def addresses_of(host: str, port: int) -> list[tuple[str, int]]:
    """Every address of a host as (IP, port). Raises DnsError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DnsError(
            f"the name server {host} has no address: {error}", mend="check the name, or write its IP address"
        ) from error
    return list(dict.fromkeys((str(entry[4][0]), port) for entry in found))


def mx_answer(response: dns.message.Message, domain: str, who: str) -> MxSet:
    """The MX set in an authoritative answer; an empty one only where the server says with authority that there is none. Raises DnsError."""
    import dns.flags
    import dns.name
    import dns.rcode
    import dns.rdataclass
    import dns.rdatatype

    rcode = response.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise DnsError(f"{who} answers {dns.rcode.to_text(rcode)} for {domain}", transient=rcode == dns.rcode.SERVFAIL)
    if not response.flags & dns.flags.AA:
        raise DnsError(
            f"{who} is not authoritative for {domain}", mend="check the domain's delegation, or `nameservers`", transient=False
        )
    name = dns.name.from_text(domain)
    if response.get_rrset(response.answer, name, dns.rdataclass.IN, dns.rdatatype.CNAME) is not None:
        raise DnsError(f"{who}: {domain} is an alias (CNAME), which can have no MX records", transient=False)
    found = response.get_rrset(response.answer, name, dns.rdataclass.IN, dns.rdatatype.MX)
    if found is None:
        return MxSet(())
    return MxSet.of(*((record.preference, record.exchange.to_text()) for record in found), ttl_seconds=found.ttl)


def read_tsig_key(path: str, key_name: str, algorithm: str) -> dns.tsig.Key:
    """The key in a file: the base64 secret alone, or a BIND `key "name" { algorithm …; secret …; };` block. Raises SecretError."""
    import dns.exception
    import dns.tsig

    secret = read_secret(path)
    block = _KEY_BLOCK.search(secret.reveal())
    value = secret
    if block is not None:
        fields = dict(_KEY_FIELD.findall(block["body"]))
        if "secret" not in fields:
            raise SecretError(f"{path} holds a key block without a secret", mend="write it with: tsig-keygen NAME")
        if block["name"].rstrip(".").lower() != key_name.rstrip(".").lower():
            raise SecretError(f"{path} holds the key {block['name']}, but key_name is {key_name}", mend="make the two agree")
        value, algorithm = Secret(fields["secret"], path), fields.get("algorithm", algorithm)
    try:
        key = dns.tsig.Key(key_name, value.reveal(), algorithm.lower().rstrip("."))
        dns.tsig.get_context(key)  # type: ignore[no-untyped-call]  # else signing would end in an error of another kind
        return key
    except NotImplementedError:
        raise SecretError(
            f"{path} is a key for {algorithm[:40]}, which is not known here", mend="write it with: tsig-keygen NAME"
        ) from None
    except (ValueError, dns.exception.DNSException):
        raise SecretError(f"{path} does not hold a TSIG secret in base64", mend="write it with: tsig-keygen NAME") from None
