"""A look from inside a mail server, over real SSH: room, the real Postfix's queue, certificates, services, and the mail log counted without names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.adapters.local import LocalHost
from failsafe.app import App
from failsafe.backup.layouts import Wanted
from failsafe.backup.source import open_source
from failsafe.clock import SystemClock
from failsafe.config.load import parse_config
from failsafe.failover.sends_from import SendsFrom
from failsafe.failover.vitals import Vitals, judge_host, judge_queue, parse_vitals
from failsafe.looks.every import looks_of
from failsafe.looks.inside import Inside
from failsafe.model import Axis, ProbeClass
from failsafe.status.build import build_status
from failsafe.status.roster import roster_of
from failsafe.web.metrics import render_metrics
from tests.contract.canary_world import PROBE, CanaryWorld, world
from tests.contract.configs import mail_over_ssh
from tests.contract.conftest import Sshd
from tests.contract.mailstore import Store
from tests.contract.stacks import DockerMailserver, WithPath

__all__ = ["world"]

LOG = """\
Nov 22 11:59:01 mail postfix/smtpd[11]: connect from mx.sender.example[198.51.100.7]
Nov 22 11:59:02 mail postfix/smtpd[11]: warning: hostname a1.bad.example does not resolve to address 203.0.113.9: Name or service not known
Nov 22 11:59:03 mail postfix/smtpd[12]: warning: hostname b2.bad.example does not resolve to address 2001:db8::77: Name or service not known
Nov 22 11:59:04 mail postfix/lmtp[13]: 4F1AB2C3D4: to=<anna@example.org>, relay=x, delay=0.1, status=sent (250 2.0.0 <anna@example.org> Saved)
2026-11-22T11:59:05.123456+00:00 mail dovecot: imap(anna@example.org)<77><abcDEF123>: Error: Mailbox INBOX: mkdir(/var/mail/example.org/anna/x) failed: No space left
Nov 22 11:59:06 mail postfix/smtpd[14]: NOQUEUE: reject: RCPT from unknown[203.0.113.9]: 554 5.7.1 <spam@example.net>: Relay access denied
Nov 22 11:59:06 mail postfix/smtpd[14]: NOQUEUE: reject: RCPT from unknown[203.0.113.9]: 450 4.2.0 <anna@example.org>: Greylisted; from=<a@example.net> to=<anna@example.org> proto=ESMTP
Nov 22 11:59:07 mail kernel: error: nothing of mail
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that the other side finds first."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def look(root: Path, position: str = "", *awaited: str) -> Vitals:
    with open_source(LocalHost("vps"), Wanted("maildir", str(root))) as (session, _):
        seen = parse_vitals(session.all_vitals(position, awaited))
    assert seen is not None
    return seen


def test_lines_of_the_mail_log_are_counted_since_the_last_look_without_names_and_numbers(tmp_path: Path, tools: Path) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail-logs").mkdir()
    file = tmp_path / "mail-logs" / "mail.log"
    file.write_text("Nov 22 11:00:00 mail postfix/smtpd[1]: warning: of the time before the first look\n")

    first = look(tmp_path / "mail").log
    assert first is not None and first.lines == 0
    with file.open("a") as opened:
        opened.write(LOG)
    second = look(tmp_path / "mail", first.position, "Anna@Example.org").log
    assert second is not None
    third = look(tmp_path / "mail", second.position).log
    file.rename(file.with_suffix(".1"))
    file.write_text(LOG)
    fourth = look(tmp_path / "mail", second.position).log  # turned over meanwhile

    assert dict(second.flow) == {"sent": 1, "rejected": 2}
    assert second.taken == 1, "who is refused at the door was not taken"
    assert sorted(second.kinds.values()) == [1, 2]
    told = json.dumps(dict(second.kinds))
    assert "postfix/smtpd warning: hostname" in told and "dovecot error: Mailbox INBOX" in told
    assert not [word for word in ("anna", "bad.example", "203.0.113", "2001:db8", "198.51", "4F1AB2") if word in told], told
    assert third is not None and (third.lines, third.taken) == (0, 0)
    assert fourth is not None and fourth.lines == 3


def test_a_queue_is_told_by_its_ages_and_reasons_and_no_address_of_it_crosses(tmp_path: Path, tools: Path) -> None:
    (tmp_path / "mail").mkdir()
    rows = [
        {"queue_name": "deferred", "arrival_time": 1_700_000_000, "sender": "a@example.net", "recipients": [{"address": "boss@big.example", "delay_reason": "host mx.big.example[198.51.100.7] said: 451 4.7.1 <boss@big.example> later"}]},
        {"queue_name": "deferred", "arrival_time": 1_700_000_100, "sender": "", "recipients": [{"address": "Anna@Example.org", "delay_reason": "connect to mail.example.org[private/dovecot-lmtp]: Connection refused"}]},
        {"queue_name": "active", "arrival_time": 1_700_000_200, "sender": "", "recipients": [{"address": "x@example.org"}]},
    ]  # fmt: skip
    lines = "\n".join(json.dumps(row) for row in rows)
    program(tools, "postqueue", f"cat <<'END'\n{lines}\nnot json\nEND")
    with open_source(LocalHost("vps"), Wanted("maildir", str(tmp_path / "mail"))) as (session, _):
        row = session.all_vitals("", ["anna@example.org"])

    seen = parse_vitals(row)
    assert seen is not None and seen.queue is not None
    assert {name: count for name, (count, _) in seen.queue.queues.items()} == {"deferred": 2, "active": 1}
    assert (seen.queue.own, seen.queue.awaited, seen.queue.cut) == (1, 1, False)
    assert seen.queue.oldest_at("active") == datetime.fromtimestamp(1_700_000_200, UTC)
    assert "example" not in json.dumps(row["queue"]), row["queue"]


def test_a_queue_without_end_and_a_silent_program_are_bounded(
    tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mail").mkdir()
    line = json.dumps(
        {"queue_name": "deferred", "arrival_time": 1_700_000_000, "recipients": [{"address": "x", "delay_reason": "y" * 900}]}
    )
    program(tools, "postqueue", f"exec yes '{line}'")

    seen = look(tmp_path / "mail")

    assert seen.queue is not None
    assert seen.queue.cut
    assert 0 < seen.queue.messages <= 21_000


def test_over_ssh_both_axes_come_from_one_session_and_are_kept_as_metrics(tmp_path: Path, sshd: Sshd) -> None:
    store = Store(tmp_path)
    store.fill("anna@example.org", "", 1)
    text = mail_over_ssh(tmp_path, store.root, sshd, PROBE)
    app = App(parse_config(text.encode(), "failsafe.toml"), tmp_path / "failsafe.toml")
    looks = {(look.axis, look.vantage): look for look in looks_of(app, "vps")}
    host = looks[Axis.HOST, "inside"]
    assert (host.target, host.interval) == (sshd.address, timedelta(minutes=5))
    now = SystemClock().now()

    seen = host.see(now)
    looks[Axis.DELIVERY, "inside"].see(now)

    assert seen.seen in (ProbeClass.UP, ProbeClass.DEGRADED, ProbeClass.DOWN), seen.text
    assert len(app.vitals.since("vps", "inside", now - timedelta(hours=1))) == 1
    app.vitals.flush(now)
    shown = render_metrics(build_status(roster_of(app.config), app.glance(), now))
    assert 'failsafe_host_load5{server="vps"}' in shown
    assert f'failsafe_host_disk_free_bytes{{path="{store.root}",server="vps"}}' in shown
    stale = render_metrics(build_status(roster_of(app.config), app.glance(), now + timedelta(hours=2)))
    assert 'failsafe_host_load5{server="vps"}' not in stale
    app.store.close()


def test_a_server_that_cannot_be_logged_in_to_is_unknown_and_not_down(tmp_path: Path, sshd: Sshd) -> None:
    text = f"""
[controller]
id = "nas"
state_dir = "{tmp_path}/state"
[mail_server.vps]
layout = "maildir"
path = "/nonexistent"
ssh = "nobody@127.0.0.1:1"
ssh_key = "{sshd.key}"
known_hosts = "{sshd.known_hosts}"
[probe.vps]
"""
    app = App(parse_config(text.encode(), "failsafe.toml"), tmp_path / "failsafe.toml")
    inside = Inside(app, "vps", timedelta(minutes=5))

    assert (inside.host(SystemClock().now()).seen, inside.delivery(SystemClock().now()).seen) == (
        ProbeClass.UNKNOWN,
        ProbeClass.UNKNOWN,
    )


def test_certificates_are_found_where_postfix_says(tmp_path: Path, tools: Path, world: CanaryWorld) -> None:
    (tmp_path / "mail").mkdir()
    program(tools, "postconf", f"printf '%s\\n' '{world.certificates.good}' ''")
    shutil.copy(world.certificates.good, tmp_path / "copy.pem")

    [found] = [each for each in look(tmp_path / "mail").certificates if each.path == str(world.certificates.good)]

    assert found.names == ("localhost",)
    assert timedelta(days=29) < found.until - SystemClock().now() < timedelta(days=31)


def test_where_mail_leaves_is_read_from_the_settings_of_a_real_postfix(tmp_path: Path, tools: Path) -> None:
    (tmp_path / "mail").mkdir()
    settings = tmp_path / "postfix"
    shutil.copytree("/etc/postfix", settings, ignore=shutil.ignore_patterns("sasl"))
    program(tools, "postconf", f'exec /usr/sbin/postconf -c {settings} "$@"')
    change = ["/usr/sbin/postconf", "-c", str(settings)]
    plain = ["myhostname = mail.example.org", "inet_interfaces = all", "relayhost =", "smtp_bind_address6 ="]
    subprocess.run([*change, "-e", *plain, "smtp_bind_address = 198.51.100.9"], check=True)
    in_main = look(tmp_path / "mail").sends_from
    subprocess.run([*change, "-P", "smtp/unix/smtp_bind_address=198.51.100.8"], check=True)
    subprocess.run([*change, "-P", "relay/unix/smtp_bind_address6=2001:db8::8"], check=True)
    subprocess.run([*change, "-P", "smtp/unix/smtp_helo_name=out.$mydomain"], check=True)
    in_master = look(tmp_path / "mail").sends_from

    assert in_main == SendsFrom(("198.51.100.9",), "", "mail.example.org")
    assert in_master == SendsFrom(("198.51.100.8", "2001:db8::8"), "", "out.example.org")


def test_of_a_server_without_postfix_nobody_knows_where_mail_leaves(tmp_path: Path, tools: Path) -> None:
    (tmp_path / "mail").mkdir()
    program(tools, "postconf", "exit 127")

    assert look(tmp_path / "mail").sends_from is None


def in_stack(host: WithPath, wanted: Wanted) -> Vitals:
    with open_source(host, wanted) as (session, _):
        seen = parse_vitals(session.all_vitals("", ()))
    assert seen is not None
    return seen


def test_the_queue_of_a_postfix_in_a_container_is_asked_there(tmp_path: Path) -> None:
    stack = DockerMailserver(tmp_path)
    stack.build()
    folder = stack.engine().install()
    row = {"queue_name": "active", "arrival_time": 1_700_000_000, "recipients": [{"address": "x@example.org"}]}
    program(folder / "tools", "postqueue", f"echo '{json.dumps(row)}'")

    seen = in_stack(WithPath(folder), Wanted("docker-mailserver", "", "mailserver"))

    assert seen.queue is not None
    assert seen.queue.oldest_at("active") == datetime.fromtimestamp(1_700_000_000, UTC)
    assert seen.containers == {"mailserver": "running"}
    assert judge_queue(seen.queue, SystemClock().now())[0] is ProbeClass.DEGRADED


def test_a_container_that_does_not_run_is_told(tmp_path: Path) -> None:
    stack = DockerMailserver(tmp_path)
    stack.build()

    seen = in_stack(WithPath(stack.engine(running=False).install()), Wanted("docker-mailserver", str(stack.path), "mailserver"))

    assert seen.queue is None
    judged, text = judge_host(seen, (), SystemClock().now())
    assert judged is not ProbeClass.UP
    assert "container mailserver is exited" in text
