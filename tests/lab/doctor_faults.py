"""Every fault that is planted in the clinic, and all that the doctor must say of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

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
    SETTINGS,
    SPF,
    TLS_RPT,
    Clinic,
)
from tests.lab.controller import CONFIG, STATE
from tests.lab.names import ADDRESSES, AUTHORITATIVE, BOB, DOMAIN, MX_NAMES, RESOLVER, SENDER_DOMAIN, TSIG_FILE, TTL, VMAIL_ROOT
from tests.lab.plants import (
    certified,
    fail2ban,
    later,
    line_without_port_25,
    nearly_full,
    on_a_share,
    postfix,
    refusing,
    seen_from,
    shell,
    small_disk,
    spam,
    stale_name_server,
    stopped,
    together,
    undelivered,
)
from tests.lab.services import RELOAD_POSTFIX

FAIL, WARN = "fail", "warn"
Found = set[tuple[str, str]]  # (code, severity)
OLD_KIT = ("kit", WARN)  # a changed configuration makes the recovery kit old, and the doctor says so: that is no other fault


@dataclass(frozen=True)
class Fault:
    """`plant`: what is done to the good world; `found`: what the doctor must say, all of it."""

    what: str
    plant: Callable[[Clinic], AbstractContextManager[object]]
    found: Found


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - it ends by everybody's clock


VERIFICATION = f'{DOMAIN}. {TTL} TXT "protonmail-verification=1234"'
REFERENCES = (
    f'references = ["{AUTHORITATIVE}:53", "{RESOLVER}:53", "{ADDRESSES["sender"]}:25"]',
    "references = []",
)
MASTER = 'master_user = "admin", password_file = "/etc/failsafe/primary.0", '

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
    Fault(
        "that the provider refuses a stale change could not be shown",
        lambda c: c.remembered(
            f"insert into duty (name, started_at, ended_at, ok_at, result, details) values ('prove-cas:{DOMAIN}:lab', '{LONG_AGO}', '{LONG_AGO}', "
            f'null, \'failed\', \'{{"fault": "", "error": "it refused the scratch record", "mend": "let it write there"}}\')'
        ),
        {("provider-cas", WARN)},
    ),
    Fault(
        "no failover was rehearsed for long",
        lambda c: c.remembered(
            f"update duty set details = json_set(details, '$.at', '2020-01-01T00:00:00+00:00') where name = 'drill-failover:{DOMAIN}'"
        ),
        {("drill-failover", WARN)},
    ),
    Fault(
        "Cloudflare takes no TTL that is so short",
        lambda c: together(
            c.at_cloudflare(), c.file(c.nas, CONFIG, lambda text: text.replace('mode = "auto"', 'mode = "auto"\nttl = "30s"'))
        ),
        {("provider-write", FAIL), OLD_KIT},
    ),
    Fault(
        "the token has ended",
        lambda c: c.at_cloudflare(token_ends="2020-01-01T00:00:00Z"),
        {("provider-token-expiry", FAIL), OLD_KIT},
    ),
    Fault(
        "the token ends soon",
        lambda c: c.at_cloudflare(token_ends=in_days(20)),
        {("provider-token-expiry", WARN), OLD_KIT},
    ),
    Fault(
        "the token reaches other zones",
        lambda c: c.at_cloudflare(zones_beside=["shop.example"]),
        {("provider-token-scope", WARN), OLD_KIT},
    ),
    Fault("Email Routing has the MX record", lambda c: c.at_cloudflare(is_locked=True), {("zone-locked", FAIL), OLD_KIT}),
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
        "a mailbox at the secondary is nearly full",
        lambda c: nearly_full(c, c.lab.secondary, BOB),
        {("secondary-imap", WARN)},
    ),
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
                f"sed -i '/^{BOB}/d' /etc/postfix/mailboxes; {RELOAD_POSTFIX}",
                f"echo '{BOB} x' >>/etc/postfix/mailboxes; {RELOAD_POSTFIX}",
            ),
        ),
        {("secondary-recipients", FAIL)},
    ),
    Fault(
        "no homecoming fetches for bob",
        lambda c: c.configured(('  { mailbox = "bob@example.test"', '  # { mailbox = "bob@example.test"')),
        {("accounts-covered", WARN), OLD_KIT},
    ),
    Fault(
        "the primary's password is another one",
        lambda c: c.file(c.nas, "/etc/failsafe/primary.0", lambda _: "not this one\n"),
        {("homecoming-deliver", FAIL), OLD_KIT},
    ),
    Fault(
        "people's rules cannot be read",
        lambda c: c.configured(("deliver = {", "filter = {}\ndeliver = {")),
        {("homecoming-deliver", WARN), OLD_KIT},
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
        lambda c: c.configured(("[probe.vps]", NO_TABLE), ("[vantage.vps2]", NO_TABLE), ("[canary.vps]", NO_TABLE)),
        {("vantages", FAIL), OLD_KIT},
    ),
    Fault("three are wanted, two look", lambda c: c.configured(("quorum = 2", "quorum = 3")), {("vantages", WARN), OLD_KIT}),
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
    Fault("no reference is configured", lambda c: c.configured(REFERENCES), {("own-line", FAIL), OLD_KIT}),
    Fault(
        "port 25 is blocked on our line",
        lambda c: seen_from(c, "here", line_without_port_25(c.nas)),
        {("port-25", WARN)},
    ),
    Fault(
        "port 25 is blocked on the other place's line",
        lambda c: seen_from(c, "vps2", line_without_port_25(c.lab.sender)),
        {("port-25", WARN), ("vantages", WARN)},  # the second, since two are wanted and one says nothing
    ),
    # -- what becomes of mail
    Fault("the server's own delivery is dead", lambda c: undelivered(c.lab.primary), {("queue", FAIL)}),
    Fault("an account sends spam", lambda c: spam(c.lab.primary), {("queue", WARN)}),
    Fault(
        "canaries are taken and lost",
        lambda c: later(c, postfix(c.lab.primary, "virtual_transport", "discard:"), hours=1),
        {("canary", FAIL)},
    ),
    Fault("the third party is dead", lambda c: later(c, stopped(c.lab.sender, "postfix"), hours=1), {("canary", WARN)}),
    Fault("no canary was sent for long", lambda c: later(c, hours=2, looks=False), {("canary", WARN)}),
    Fault(
        "the secondary itself sends the canary",
        lambda c: c.configured((f"mail.{SENDER_DOMAIN}:587", f"{MX_NAMES['secondary']}:587")),
        {("canary", WARN), OLD_KIT},
    ),
    Fault(
        "Postfix is in another container than the server's settings say",
        lambda c: c.file(c.lab.primary, SETTINGS, lambda text: json.dumps({**json.loads(text), "postfix": "elsewhere"}), 0o644),
        {("lost-delivery", WARN)},
    ),
    # -- the certificate
    Fault("the certificate ends soon", lambda c: certified(c, timedelta(days=5)), {("certificate", WARN)}),
    Fault(
        "a certificate was renewed and not loaded",
        lambda c: certified(c, timedelta(days=5), renewed=True),
        {("certificate", WARN)},
    ),
    Fault("the certificate has ended", lambda c: certified(c, -timedelta(days=1)), {("certificate", FAIL)}),
    Fault(
        "the certificate is for another name",
        lambda c: certified(c, timedelta(days=30), f"old.{DOMAIN}"),
        {("certificate", FAIL)},
    ),
    Fault(
        "the primary offers no TLS",
        lambda c: postfix(c.lab.primary, "smtpd_tls_security_level", "none"),
        {("certificate", FAIL)},
    ),
    # -- the primary
    Fault(
        "our SSH key is let in no more",
        lambda c: c.file(c.lab.primary, KEYS, lambda _: "\n"),
        {("ssh-access", FAIL), ("lost-delivery", WARN)},  # the second, since nobody can look from inside
    ),
    Fault(
        "our SSH key may run anything",
        lambda c: c.file(c.lab.primary, KEYS, lambda text: text.partition('" ')[2]),
        {("ssh-helper", WARN)},
    ),
    Fault("little room on the server", lambda c: small_disk(c.lab.primary, VMAIL_ROOT, 100), {("disk", FAIL)}),
    Fault(
        "the server's disk is nearly full",
        lambda c: c.file(
            c.lab.primary,
            PROGRAM,
            lambda text: text.replace("info.f_bavail * info.f_frsize", "info.f_blocks * info.f_frsize // 11"),
            0o644,
        ),
        {("disk", WARN), ("server-program", WARN)},  # the second, since the program there is then another one
    ),
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
    Fault(
        "the server's clock is a minute ahead",
        lambda c: c.file(
            c.lab.primary, PROGRAM, lambda text: text.replace("int(time.time() * 1e9)", "int((time.time() + 60) * 1e9)"), 0o644
        ),
        {("clock", WARN), ("server-program", WARN)},
    ),
    Fault(
        "a folder that belongs to the mail server is gone",
        lambda c: shell(c.lab.primary, "mv /etc/rspamd /etc/rspamd.away", "mv /etc/rspamd.away /etc/rspamd"),
        {("sources", FAIL)},
    ),
    Fault(
        "a master user is configured that nothing uses",
        lambda c: c.configured(
            (
                f'imap = {{ host = "{MX_NAMES["primary"]}", port = 993, ',
                f'imap = {{ host = "{MX_NAMES["primary"]}", port = 993, {MASTER}',
            )
        ),
        {("credential-writes", WARN), OLD_KIT},
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
        "a check of the repository failed",
        lambda c: c.remembered("update repository_state set last_result = 'failed', last_error = 'pack 1234 is gone'"),
        {("repository-check", FAIL)},
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
    Fault(
        "the bucket keeps nothing of what is deleted",
        lambda c: c.in_a_bucket("plain"),
        {("bucket-lock", WARN), ("bucket-delete", WARN), OLD_KIT},
    ),
    Fault("the bucket itself deletes", lambda c: c.in_a_bucket("expiring"), {("bucket-lock", FAIL), OLD_KIT}),
    Fault("the credential cannot write there", lambda c: c.in_a_bucket("read-only"), {("bucket-delete", FAIL), OLD_KIT}),
    Fault("restic cannot read a snapshot there", lambda c: c.in_a_bucket("spoilt"), {("bucket-contents", WARN), OLD_KIT}),
    Fault("the repository's keys are gone", lambda c: c.in_a_bucket("keyless"), {("bucket-contents", FAIL), OLD_KIT}),
    # -- this machine
    Fault("little room for staging", lambda c: small_disk(c.nas, STATE, 100), {("staging-space", WARN)}),
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
        "restic is newer than any that is known",
        lambda c: shell(
            c.nas,
            "printf '#!/bin/sh\\necho restic 0.99.0\\n' >/usr/local/sbin/restic; chmod 755 /usr/local/sbin/restic",
            "rm /usr/local/sbin/restic",
        ),
        {("restic-version", WARN)},
    ),
    Fault("the state lies on a share of the network", lambda c: on_a_share(c, "nfs4"), {("database-place", FAIL)}),
    Fault(
        "one of two addresses is the mailbox that it reports on",
        lambda c: c.file(
            c.nas, "/etc/failsafe/notify.urls", lambda text: f"{text}mailtos://user:secret@smtp.example.com?to=alice@{DOMAIN}\n"
        ),
        {("notify-path", WARN), OLD_KIT},
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
    # -- from here on fail2ban runs, which takes the doctor half a second each time
    Fault(
        "fail2ban does not ignore us",
        lambda c: fail2ban(c.lab.primary, "delignoreip", ADDRESSES["nas"]),
        {("fail2ban-ignore", WARN)},
    ),
    Fault(
        "fail2ban bans us",
        lambda c: fail2ban(c.lab.primary, "banip", ADDRESSES["nas"]),
        {("monitor-banned", FAIL)},
    ),
    Fault(
        "fail2ban bans the other place, and one is enough",
        lambda c: together(fail2ban(c.lab.primary, "banip", ADDRESSES["sender"]), c.configured(("quorum = 2", "quorum = 1"))),
        {("monitor-banned", WARN), OLD_KIT},
    ),
)

# Worlds as good as the first one, in which there is more to look at.
WELL = (
    Fault("the domain is at Cloudflare", lambda c: c.at_cloudflare(), {OLD_KIT}),
    Fault("fail2ban knows us", lambda c: fail2ban(c.lab.primary), set()),
    Fault("a repository lies in a good bucket", lambda c: c.in_a_bucket("good"), {OLD_KIT}),
    Fault(
        "the provider's verification record is there",
        lambda c: together(
            c.zone(f"add {VERIFICATION}", undo=(f"del {VERIFICATION}",)),
            c.configured(('secondary = ["mx2.example.test"]', f'secondary = ["{PROTON[0]}", "{PROTON[1]}"]')),
        ),
        {OLD_KIT},
    ),
)

# (code, severity) -> why
NOT_PLANTED = {
    ("secret-mode", WARN): "needs a file system without modes (FAT), which this kernel may not know: tests/unit",
}
