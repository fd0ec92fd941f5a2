"""A prober whose address is on a block list that the mail server asks: the look and the doctor stop, and stay below the thresholds of the real fail2ban."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.adapters.smtp import SmtpProbe
from failsafe.app import App
from failsafe.checkup.inside import look_at_inside
from failsafe.checkup.published import Speaking
from failsafe.config.load import parse_config
from failsafe.failover.health import EvidenceRun
from failsafe.failover.rounds import due_probes, quiet_until
from failsafe.looks.here import inbound
from failsafe.looks.past import probe_of
from failsafe.model import ProbeClass, Side
from tests.contract import fail2ban
from tests.contract.configs import PROBED, domain_table
from tests.contract.mail_servers import KNOWN_GOOD, Postfix
from tests.contract.sessions import HELO, NOW
from tests.support import wait_until

MINUTE = timedelta(minutes=1)
POSTFIX_MODES = ("normal", "more", "extra", "aggressive")
BLOCKING = {
    "good": ("smtpd_client_restrictions=reject_rbl_client dnsbl.test",),  # says so to the recipient, as Postfix does by default
    "early": ("smtpd_client_restrictions=reject_rbl_client dnsbl.test", "smtpd_delay_reject=no"),
    "screen": ("service=postscreen", "postscreen_greet_wait=1s", "postscreen_cache_map=", "postscreen_dnsbl_sites=dnsbl.test", "postscreen_dnsbl_action=enforce"),
    "drop": ("service=postscreen", "postscreen_greet_wait=1s", "postscreen_cache_map=", "postscreen_dnsbl_sites=dnsbl.test", "postscreen_dnsbl_action=drop"),
}  # fmt: skip
BLOCK_LIST = """\
server:
    interface: 127.0.53.77@53
    do-ip6: no
    do-daemonize: no
    access-control: 127.0.0.0/8 allow
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    module-config: "iterator"
    local-zone: "test." static
    local-data: "1.0.0.127.dnsbl.test. A 127.0.0.2"
    local-zone: "." refuse
"""


@pytest.fixture(scope="module")
def blocking() -> Iterator[Postfix]:
    """A Postfix whose own resolver knows a block list, with this machine on it; smtpd asks it at one port, postscreen at another."""
    if fail2ban.missing_fail2ban():
        pytest.skip(fail2ban.missing_fail2ban())
    folder = Path(tempfile.mkdtemp(prefix="failsafe-blocking-"))
    folder.chmod(0o755)
    server = Postfix(folder, BLOCKING)
    (folder / "unbound.conf").write_text(BLOCK_LIST.format(folder=folder))
    (folder / "resolv.conf").write_text("nameserver 127.0.53.77\noptions timeout:2 attempts:2\n")
    server.inside = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(folder / "resolv.conf"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        log = stack.enter_context((folder / "unbound.log").open("wb"))
        words = ["unbound", "-d", "-c", str(folder / "unbound.conf")]
        stack.callback(stack.enter_context(subprocess.Popen(words, stdout=log, stderr=log)).terminate)
        stack.callback(server.stop)
        server.start()
        yield server


@pytest.mark.parametrize("listener", ["good", "screen"])
def test_a_prober_on_a_block_list_stops_before_the_thresholds(blocking: Postfix, listener: str) -> None:
    """Two weeks of minutes, looked at when rounds.py lets it; in truth it takes a second, so all of it lies within fail2ban's week."""
    probe = SmtpProbe("vps", [blocking.target(listener)], KNOWN_GOOD, HELO, ca_file=str(blocking.certificates.authority))
    history: list[EvidenceRun] = []
    for minute in range(14 * 24 * 60):
        at = NOW + minute * MINUTE
        if quiet_until(history, at) is None:
            history.append(EvidenceRun.of(probe.probe(at)))

    def logged() -> str:
        text = blocking.log_of(listener)
        return text if text.count("blocked using") >= len(history) else ""

    log = blocking.folder / f"{listener}.log"
    log.write_text(wait_until(logged, 30, "every refusal is in the log") + "\n")
    assert {run.evidence.seen for run in history} == {ProbeClass.PROBE_BLOCKED}, history[0].evidence.text
    assert len(history) == 4
    for mode in POSTFIX_MODES:
        assert 1 <= fail2ban.matches(log, f"postfix[mode={mode}]") < 6, mode


@pytest.mark.parametrize(
    ("listener", "who_begins", "allowed"),
    [
        ("good", "look", 4),
        ("early", "look", 4),
        ("drop", "look", 4),
        ("early", "doctor", 5),  # before there was any look, which does not know of it
        ("early", "doctor alone", 4),
    ],
)
def test_the_doctors_own_sessions_are_within_the_two_tries_a_week(
    blocking: Postfix, tmp_path: Path, listener: str, who_begins: str, allowed: int
) -> None:
    """Two weeks: a doctor every three hours, in all its ways of speaking to the server, beside the look; counted are the sessions, whoever held them."""
    port = blocking.ports[listener]
    authority = f'ca_file = "{blocking.certificates.authority}"'
    text = PROBED.format(folder=tmp_path, line=1, smtp=port, every="60s") + authority + domain_table("example.org")
    text = text.replace("127.0.0.1:", "localhost:")  # the name in its certificate
    app = App(parse_config(text.encode(), "failsafe.toml"), tmp_path / "failsafe.toml")
    look = next(inbound(app, "vps"))
    before = sessions(blocking, listener)

    for hours in range(0, 14 * 24, 3):
        at = NOW + timedelta(hours=hours)
        looks = who_begins == "look" or (who_begins == "doctor" and hours > 0)
        if looks and due_probes([probe_of(app, look, None, [look])], at):
            app.history.record(look.see(at), look.interval)
        look_at_inside(app, "vps", at)
        Speaking(app, "vps", HELO, at).ask("localhost", Side.PRIMARY, port)

    app.store.close()
    wait_until(lambda: sessions(blocking, listener) >= before + allowed, 30, "all of it is in the log")
    assert sessions(blocking, listener) == before + allowed


def sessions(server: Postfix, listener: str) -> int:
    return len(re.findall(r"\[\d+\]: connect from ", server.log_of(listener), re.IGNORECASE))
