"""Runs inside a host: DOMAIN EVERY SERVER…: asks each name server for the domain's MX records every EVERY seconds, until it is killed.

Prints a JSON line for each change of an answer: {"at": Unix time of the answer, "server", "mx": [records, sorted]}. Nothing of failsafe is in
it: what it reports is an independent witness. A server that is silent is asked again.
"""

import json
import sys
import threading
import time

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

PATIENCE = 1.0  # seconds for one answer
PRINTING = threading.Lock()


def ask(server: str, domain: str) -> list[str]:
    query = dns.message.make_query(domain, "MX", flags=dns.flags.Flag(0))
    answer = dns.query.udp(query, server, timeout=PATIENCE)
    return sorted(record.to_text() for found in answer.answer if found.rdtype == dns.rdatatype.MX for record in found)


def watch(server: str, domain: str, every: float) -> None:
    before: list[str] | None = None
    while True:
        try:
            found = ask(server, domain)
        except (dns.exception.DNSException, OSError):
            found = []
        if found and found != before:
            with PRINTING:
                print(json.dumps({"at": time.time(), "server": server, "mx": found}), flush=True)
            before = found
        time.sleep(every)


for name in sys.argv[3:]:
    threading.Thread(target=watch, args=(name, sys.argv[1], float(sys.argv[2]))).start()
