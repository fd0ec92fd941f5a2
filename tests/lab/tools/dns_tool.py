"""Runs inside a host; prints JSON.

mx SERVER DOMAIN                                          its MX records, sorted
set-mx SERVER DOMAIN KEY_FILE KEY_NAME ALGORITHM RECORD…  replace them in one signed update (RFC 2136)
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsigkeyring
import dns.update

TTL = 5
SECONDS = 5


def mx(server: str, domain: str) -> list[str]:
    answer = dns.query.udp_with_fallback(dns.message.make_query(domain, "MX"), server, timeout=SECONDS)[0]
    if answer.rcode() != dns.rcode.NOERROR:
        sys.exit(f"{server} answers {dns.rcode.to_text(answer.rcode())}")
    return sorted(record.to_text() for found in answer.answer if found.rdtype == dns.rdatatype.MX for record in found)


def set_mx(server: str, domain: str, key_file: str, key_name: str, algorithm: str, *records: str) -> list[str]:
    keyring = dns.tsigkeyring.from_text({key_name: Path(key_file).read_text().strip()})
    update = dns.update.UpdateMessage(domain, keyring=keyring, keyalgorithm=dns.name.from_text(algorithm))
    update.replace("@", TTL, "MX", *records)
    answer = dns.query.tcp(update, server, timeout=SECONDS)
    if answer.rcode() != dns.rcode.NOERROR:
        sys.exit(f"{server} refuses the update: {dns.rcode.to_text(answer.rcode())}")
    return mx(server, domain)


VERBS: dict[str, Callable[..., list[str]]] = {"mx": mx, "set-mx": set_mx}
print(json.dumps(VERBS[sys.argv[1]](*sys.argv[2:])))
