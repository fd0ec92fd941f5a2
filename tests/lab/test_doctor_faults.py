"""The doctor on a good world, and on the same world with one fault planted at a time: the right code and severity for it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from failsafe.doctor_codes import CODES
from tests.contract.published_world import WORLD
from tests.lab.clinic import (
    A1,
    A2,
    DKIM,
    DMARC,
    KEYS,
    LONG_AGO,
    MX,
    NO_MX,
    NO_SPF,
    NO_TABLE,
    PROGRAM,
    PROTON,
    SPF,
    TLS_RPT,
    Clinic,
    refusing,
    shell,
    stale_name_server,
    stopped,
    together,
)
from tests.lab.controller import STATE
from tests.lab.lab import Lab
from tests.lab.names import AUTHORITATIVE, BOB, DOMAIN, TSIG_FILE, TTL, VMAIL_ROOT

pytestmark = pytest.mark.lab

FAIL, WARN = "fail", "warn"
Found = set[tuple[str, str]]  # (code, severity)
OLD_KIT = ("kit", WARN)  # a changed configuration makes the recovery kit old, and the doctor says so: that is no other fault


@dataclass(frozen=True)
class Fault:
    """`plant`: what is done to the good world; `found`: what the doctor must say, all of it."""

    what: str
    plant: Callable[[Clinic], AbstractContextManager[object]]
    found: Found


FAULTS = (
    # -- the zone
    Fault("no MX record", lambda c: c.zone(NO_MX, undo=(MX,)), {("mx-explicit", FAIL)}),
    Fault(
        "both servers are listed in peace",
        lambda c: c.zone(f"add {DOMAIN}. {TTL} MX 20 mx2.{DOMAIN}.", undo=(f"del {DOMAIN}. MX 20 mx2.{DOMAIN}.",)),
        {("mx-layout", FAIL)},
    ),
    # it greets by that name, too: what senders are told by it leads nowhere
    Fault(
        "the primary's name has no address",
        lambda c: c.zone(f"del mx1.{DOMAIN}. A", undo=(A1,)),
        {("mx-target", FAIL), ("helo", WARN)},
    ),
    Fault(
        "the primary's name is an alias",
        lambda c: c.zone(
            f"del mx1.{DOMAIN}. A", f"add mx1.{DOMAIN}. {TTL} CNAME imap.{DOMAIN}.", undo=(f"del mx1.{DOMAIN}. CNAME", A1)
        ),
        {("mx-target", FAIL)},
    ),
    Fault(
        "the TTL of the MX records is an hour",
        lambda c: c.zone(NO_MX, f"add {DOMAIN}. 3600 MX 10 mx1.{DOMAIN}.", undo=(NO_MX, MX)),
        {("ttl-high", WARN)},
    ),
    Fault("a name server gives records of before", stale_name_server, {("mx-drift", FAIL), OLD_KIT}),
    Fault(
        "a name server is dead",
        lambda c: c.configured(
            (f'nameservers = ["{AUTHORITATIVE}:53"]', f'nameservers = ["{AUTHORITATIVE}:53", "127.0.0.1:53"]')
        ),
        {("ns-agree", WARN), OLD_KIT},
    ),
    # -- the provider
    Fault(
        "the key of the zone is another one",
        lambda c: c.file(c.nas, TSIG_FILE, lambda _: "bm90IHRoZSBrZXkgdGhhdCBLbm90IGtub3dzIG9mIDMyIQ==\n"),
        {("provider-write", FAIL), OLD_KIT},
    ),
    Fault(
        "the provider once took a stale change",
        lambda c: c.remembered(
            f"insert into duty (name, started_at, ended_at, ok_at, result, details) values ('prove-cas:{DOMAIN}:lab', '{LONG_AGO}', '{LONG_AGO}', "
            f'\'{LONG_AGO}\', \'failed\', \'{{"fault": "a stale change was accepted", "error": "", "mend": ""}}\')'
        ),
        {("provider-cas", FAIL)},
    ),
    Fault(
        "the last failover drill failed",
        lambda c: c.remembered(
            f"update duty set details = json_set(details, '$.result', 'failed', '$.finding', 'it took too long') where name = 'drill-failover:{DOMAIN}'"
        ),
        {("drill-failover", FAIL)},
    ),
    # -- the secondary
    Fault(
        "the secondary's name has no address",
        lambda c: c.zone(f"del mx2.{DOMAIN}. A", undo=(A2,)),
        {("secondary-resolves", FAIL)},
    ),
    Fault(
        "the secondary refuses the recipient",
        lambda c: refusing(c.lab.secondary, "550 5.1.1 nobody of that name"),
        {("secondary-accepts", FAIL)},
    ),
    Fault("the secondary's SMTP is dead", lambda c: stopped(c.lab.secondary, "postfix"), {("secondary-accepts", FAIL)}),
    Fault(
        "a homecoming's password is another one",
        lambda c: c.file(c.nas, "/etc/failsafe/bob.password", lambda _: "not this one\n"),
        {("secondary-imap", FAIL), OLD_KIT},
    ),
    Fault("the secondary's IMAP is dead", lambda c: stopped(c.lab.secondary, "dovecot"), {("secondary-imap", FAIL)}),
    Fault(
        "the provider's verification record is gone",
        lambda c: c.configured(
            ('secondary = ["mx2.example.test"]', 'secondary = ["mail.protonmail.ch", "mailsec.protonmail.ch"]')
        ),
        {("secondary-verified", FAIL), OLD_KIT},
    ),
    Fault(
        "bob is unknown at the secondary",
        lambda c: together(
            c.remembered(f"delete from duty where name = 'recipients:{DOMAIN}'"),
            shell(
                c.lab.secondary,
                f"sed -i '/^{BOB}/d' /etc/postfix/mailboxes; postfix reload",
                f"echo '{BOB} x' >>/etc/postfix/mailboxes; postfix reload",
            ),
        ),
        {("secondary-recipients", FAIL)},
    ),
    Fault(
        "no homecoming fetches for bob",
        lambda c: c.configured(('  { mailbox = "bob@example.test"', '  # { mailbox = "bob@example.test"')),
        {("accounts-covered", WARN), OLD_KIT},
    ),
    # -- what is published
    Fault("no SPF record", lambda c: c.zone(NO_SPF, undo=(SPF,)), {("spf", WARN)}),
    Fault(
        "two SPF records",
        lambda c: c.zone(f'add {DOMAIN}. {TTL} TXT "v=spf1 -all"', undo=(f'del {DOMAIN}. TXT "v=spf1 -all"',)),
        {("spf", FAIL)},
    ),
    Fault("no DMARC record", lambda c: c.zone(f"del _dmarc.{DOMAIN}. TXT", undo=(DMARC,)), {("dmarc", WARN)}),
    Fault("no DKIM key", lambda c: c.zone(f"del mail._domainkey.{DOMAIN}. TXT", undo=(DKIM,)), {("dkim", WARN)}),
    Fault(
        "TLS reports go to the domain itself",
        lambda c: c.zone(
            f"del _smtp._tls.{DOMAIN}. TXT",
            f'add _smtp._tls.{DOMAIN}. {TTL} TXT "v=TLSRPTv1; rua=mailto:tls@{DOMAIN}"',
            undo=(f"del _smtp._tls.{DOMAIN}. TXT", TLS_RPT),
        ),
        {("tls-rpt", WARN)},
    ),
    # -- who watches
    Fault(
        "nobody watches",
        lambda c: c.configured(("[probe.vps]", NO_TABLE)),
        {("vantages", FAIL), OLD_KIT},
    ),
    Fault("two are wanted, one looks", lambda c: c.configured(("quorum = 1", "quorum = 2")), {("vantages", WARN), OLD_KIT}),
    Fault(
        "the probe has no name", lambda c: c.configured(('helo = "nas.example.test"\n', "")), {("probe-identity", WARN), OLD_KIT}
    ),
    Fault(
        "no reference answers",
        lambda c: c.configured(
            (f'references = ["{AUTHORITATIVE}:53", ', 'references = ["127.0.0.1:9", "127.0.0.2:9", "127.0.0.3:9", ')
        ),
        {("own-line", WARN), OLD_KIT},
    ),
    # -- the primary
    Fault("our SSH key is let in no more", lambda c: c.file(c.lab.primary, KEYS, lambda _: "\n"), {("ssh-access", FAIL)}),
    Fault(
        "our SSH key may run anything",
        lambda c: c.file(c.lab.primary, KEYS, lambda text: text.partition('" ')[2]),
        {("ssh-helper", WARN)},
    ),
    Fault("little room on the server", lambda c: c.small_disk(c.lab.primary, VMAIL_ROOT, 100), {("disk", FAIL)}),
    Fault(
        "a domain nobody configured",
        lambda c: shell(
            c.lab.primary,
            f"install -d -o vmail -g vmail {VMAIL_ROOT}/other.test/x/{{cur,new,tmp}}",
            f"rm -rf {VMAIL_ROOT}/other.test",
        ),
        {("domain-missing", WARN)},
    ),
    Fault(
        "the server's clock is ten minutes ahead",
        lambda c: c.file(
            c.lab.primary, PROGRAM, lambda text: text.replace("int(time.time() * 1e9)", "int((time.time() + 600) * 1e9)"), 0o644
        ),
        {("clock", FAIL), ("server-program", WARN)},  # the second, since the program there is then another one
    ),
    # -- backups
    Fault(
        "the last complete backup is old",
        lambda c: c.remembered(f"update backup_run set started_at = '{LONG_AGO}'"),
        {("recovery-point", FAIL)},
    ),
    Fault(
        "the repository was not checked for long",
        lambda c: c.remembered(f"update repository_state set last_check_at = '{LONG_AGO}'"),
        {("repository-check", WARN)},
    ),
    Fault(
        "no restore was rehearsed for long",
        lambda c: c.remembered(f"update duty set ok_at = '{LONG_AGO}' where name = 'drill:nas'"),
        {("drill-restore", FAIL)},
    ),
    Fault(
        "strangers can make us delete",
        lambda c: c.configured(('keep = { within = "30d", daily = 30 }', 'keep = { daily = 30 }\nmaintenance = "elsewhere"')),
        {("retention", WARN), OLD_KIT},
    ),
    Fault(
        "nothing was forgotten for long",
        lambda c: c.remembered(
            f"insert or replace into duty (name, started_at, ended_at, ok_at, result, details) values ('forget:nas', '{LONG_AGO}', '{LONG_AGO}', "
            f"'{LONG_AGO}', 'ok', '{{}}')"
        ),
        {("overdue", FAIL)},
    ),
    # -- this machine
    Fault("little room for staging", lambda c: c.small_disk(c.nas, STATE, 100), {("staging-space", WARN)}),
    Fault(
        "others may read staging",
        lambda c: shell(
            c.nas, f"chmod 755 {STATE} {STATE}/staging {STATE}/staging/*", f"chmod 700 {STATE} {STATE}/staging {STATE}/staging/*"
        ),
        {("staging-exposed", FAIL)},
    ),
    Fault(
        "others may read a password",
        lambda c: shell(c.nas, "chmod 644 /etc/failsafe/repository.password", "chmod 600 /etc/failsafe/repository.password"),
        {("secret-mode", FAIL)},
    ),
    Fault(
        "restic is too old",
        lambda c: shell(
            c.nas,
            "printf '#!/bin/sh\\necho restic 0.9.0\\n' >/usr/local/sbin/restic; chmod 755 /usr/local/sbin/restic",
            "rm /usr/local/sbin/restic",
        ),
        {("restic-version", FAIL)},
    ),
    Fault(
        "notices go to the mailbox they report on",
        lambda c: c.file(
            c.nas, "/etc/failsafe/notify.urls", lambda _: f"mailtos://user:secret@smtp.example.com?to=alice@{DOMAIN}\n"
        ),
        {("notify-path", FAIL), OLD_KIT},
    ),
    Fault(
        "nobody is told",
        lambda c: c.configured(('urls_file = "/etc/failsafe/notify.urls"', "")),
        {("notify-path", WARN), OLD_KIT},
    ),
    Fault("no kit was ever made", lambda c: c.remembered("delete from duty where name like 'kit:%'"), {("kit", WARN)}),
)

NOT_PLANTED = {
    "fail2ban-ignore": "the lab's primary has no fail2ban: tests/unit/failover, and the real one in tests/contract",
    "monitor-banned": "as fail2ban-ignore",
    "port-25": "needs a line on which port 25 is blocked: tests/lab/test_force_vantages.py, tests/unit/failover",
    "canary": "the lab has no third party's submission: tests/unit/failover, tests/contract",
    "lost-delivery": "as canary",
    "queue": "of what is seen from inside: tests/unit",
    "certificate": "of what is seen from inside: tests/unit",
    "ptr": "of public addresses alone: tests/contract/test_published.py looks at a good one, tests/unit/failover plants each fault",
    "tld-reputation": "what is known of top-level domains is a list in the code, and example.test is not on it: tests/unit/failover",
    "dnsbl": "as ptr; tests/contract/test_published.py lists an address",
    "sources": "needs a layout in containers: tests/unit/test_checkup.py, with the real program on this machine",
    "provider-token-expiry": "Knot's keys have no end: tests/contract/test_cloudflare_zone.py",
    "provider-token-scope": "a server does not tell what a key may write: tests/contract/test_cloudflare_zone.py",
    "zone-locked": "Knot locks nothing: tests/contract/test_cloudflare_zone.py, tests/contract/test_route53_zone.py",
    "bucket-lock": "needs S3: tests/contract/test_bucket.py",
    "bucket-delete": "needs S3: tests/contract/test_bucket.py",
    "bucket-contents": "needs S3: tests/contract/test_bucket.py",
    "credential-writes": "a warning needs a server that is read over IMAP: tests/contract/test_imap_layout.py",
    "homecoming-deliver": "a credential refused, and rules: tests/contract/test_homecoming_filter.py, tests/unit/failover",
    "database-place": "needs a network file system, which a namespace cannot mount: tests/unit/backup/test_doctor.py",
}


@pytest.fixture(scope="module")
def clinic(lab: Lab) -> Iterator[Clinic]:
    made = Clinic(lab)
    try:
        made.open()
        yield made
    finally:
        made.close()


def bad(clinic: Clinic) -> dict[tuple[str, str], str]:
    """What the doctor calls bad: (code, severity) -> text and mend."""
    found = {}
    for each in clinic.examine():
        if each["severity"] in (FAIL, WARN):
            assert each["text"], each
            assert each["mend"], each
            found[each["code"], each["severity"]] = f"{each['text']} | {each['mend']}"
    return found


def test_in_a_good_world_the_doctor_finds_nothing(clinic: Clinic) -> None:
    assert bad(clinic) == {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_planted_fault_is_found_and_nothing_else(clinic: Clinic, fault: Fault) -> None:
    with fault.plant(clinic):
        found = bad(clinic)
    assert set(found) == fault.found, found


def test_with_its_verification_record_a_provider_is_well(clinic: Clinic) -> None:
    record = f'add {DOMAIN}. {TTL} TXT "protonmail-verification=1234"'
    away = ('secondary = ["mx2.example.test"]', f'secondary = ["{PROTON[0]}", "{PROTON[1]}"]')
    with clinic.zone(record, undo=(record.replace("add", "del", 1).replace(f" {TTL} ", " "),)), clinic.configured(away):
        assert set(bad(clinic)) == {OLD_KIT}


def test_when_every_fault_is_taken_away_the_doctor_finds_nothing(clinic: Clinic) -> None:
    assert bad(clinic) == {}


def test_every_code_of_the_doctor_has_a_planted_fault_or_a_reason_why_not() -> None:
    here = {code for fault in FAULTS for code, _ in fault.found}
    there = {code for planted in WORLD.values() for code in planted.found}  # in tests/contract/test_published.py
    assert (here | there) & set(NOT_PLANTED) == set()
    assert set(CODES) - here - there - set(NOT_PLANTED) == set()
