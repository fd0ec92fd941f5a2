"""What a decision is made from after a start: this configuration's target, and a first look where one may come."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from failsafe.app import App
from failsafe.clock import SystemClock
from failsafe.config.load import load_config
from failsafe.daemon.watch import Watch
from failsafe.domains import Domains
from failsafe.failover.guards import judge_guards
from failsafe.model import Axis, DomainState, Evidence, FlipKind, ProbeClass, Verdict
from tests.contract.configs import MAIL_HERE
from tests.ports import free_port
from tests.support import wait_until

CONFIG = (
    MAIL_HERE
    + """
[domain."example.test"]
server = "vps"
primary = ["mail.example.test"]
secondary = ["mx.example.net"]
strategy = "on-demand"
zone = "example.test"
nameservers = ["127.0.0.1:{port}"]
[probe.vps]
smtp = ["127.0.0.1:{port}"]
recipient = "{recipient}"
[own_line]
references = ["127.0.0.1:{port}"]
"""
)
DOMAIN = "example.test"


@contextmanager
def watching(folder: Path, recipient: str = "probe@example.test", reference: int = 0) -> Iterator[Watch]:
    """The primary refuses; `reference`: a port that shows that our own line is up."""
    file, port = folder / "failsafe.toml", free_port()
    text = CONFIG.format(folder=folder, port=port, recipient=recipient)
    file.write_text(text.replace(f'references = ["127.0.0.1:{port}"]', f'references = ["127.0.0.1:{reference or port}"]'))
    app = App(load_config(file), file)
    watch = Watch(app, Domains(app, None, SystemClock().now(), watching=True))
    yield watch
    watch.finish(SystemClock().now())
    app.store.close()


def remember(watch: Watch, target: str, *seen: ProbeClass) -> None:
    """The newest look was just now, the ones before it a minute apart."""
    now = watch.app.clock.now()
    for age, each in zip(range(len(seen) - 1, -1, -1), seen, strict=True):
        at = now - timedelta(minutes=age)
        watch.app.history.record(Evidence("vps", "here", Axis.INBOUND, each, at, "said so", target), timedelta(minutes=1))


def target_of(watch: Watch) -> str:
    return watch.domains.targets["vps", "here", Axis.INBOUND]


def test_evidence_of_another_recipient_is_no_evidence(tmp_path: Path) -> None:
    with watching(tmp_path, "probe@example.test") as watch:
        remember(watch, target_of(watch), ProbeClass.UP, *[ProbeClass.LYING] * 5)
        assert [view.verdict for view in watch.domains.views(DOMAIN, watch.app.clock.now())] == [Verdict.LYING]
        watch.domains.targets["vps", "here", Axis.INBOUND] = "other@example.test at 127.0.0.1:25"
        assert watch.domains.views(DOMAIN, watch.app.clock.now()) == ()


def test_a_domain_whose_prober_must_keep_quiet_is_decided_all_the_same(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        remember(watch, target_of(watch), ProbeClass.UP, ProbeClass.PROBE_BLOCKED)
        watch.step(watch.app.clock.now())
        assert watch.busy
        wait_until(lambda: _decided(watch), 60, "the domain was decided, though no look may come for days")


def test_a_domain_that_will_be_looked_at_waits_for_its_first_look(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        remember(watch, target_of(watch), ProbeClass.UP, ProbeClass.DOWN)
        watch.step(watch.app.clock.now())
        assert not watch.busy


def letter(at: datetime) -> bytes:
    received = "from mx.sender.example (mx.sender.example [198.51.100.7]) by mail.example.test (Postfix) with ESMTPS id 4F1"
    return f"Received: {received}; {format_datetime(at)}\nSubject: hello\n\nbody\n".encode()


def test_mail_that_comes_in_while_the_probes_see_the_server_down_stands_against_a_failover(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        lease = watch.app.leases.acquire("nas", watch.app.clock.now())
        watch.domains.take(lease)
        remember(watch, target_of(watch), ProbeClass.UP, *[ProbeClass.DOWN] * 9)
        folder = tmp_path / "mail" / DOMAIN / "anna" / "new"
        folder.mkdir(parents=True)
        (folder / "1.host").write_bytes(letter(watch.app.clock.now() - timedelta(seconds=30)))

        def guarded() -> bool:
            watch.forget_decision_times()
            watch._decide_at[DOMAIN] = watch.app.clock.now()
            watch.step(watch.app.clock.now(), looks=False)
            facts = watch.domains.gather(DOMAIN, watch.app.clock.now())
            guards = judge_guards(facts, FlipKind.FAILOVER, watch.app.clock.now())
            return facts.record.state is DomainState.SUSPECT and "proof-of-life" in {guard.code for guard in guards}

        wait_until(guarded, 60, "the message that came in was found, and is a guard")
        again = Domains(watch.app, lease, watch.app.clock.now(), watching=True)
        assert again.gather(DOMAIN, watch.app.clock.now()).proof_of_life_at is not None, "also after a restart"


def test_the_wait_before_a_failover_ends_with_a_look_and_a_decision(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as line, watching(tmp_path, reference=line.getsockname()[1]) as watch:
        history, begun = watch.app.history, watch.app.clock.now()
        first = begun - timedelta(minutes=14, seconds=40)
        for at, seen in (
            (first - timedelta(minutes=1), ProbeClass.UP),
            *((first + n * timedelta(seconds=80), ProbeClass.DOWN) for n in range(11)),
        ):
            history.record(Evidence("vps", "here", Axis.INBOUND, seen, at, "said so", target_of(watch)), timedelta(minutes=1))
        watch.step(begun)  # the regular look; the next one is due in 48 seconds or more
        wait_until(lambda: _decided(watch), 60, "a look, and a decision after it")
        due, looks = first + timedelta(minutes=15), looked(watch)
        wakes = watch.wake_at(begun)
        assert wakes is not None
        assert due - timedelta(seconds=15) < wakes <= due
        watch.step(due)
        wait_until(lambda: not watch.busy or watch.step(due), 60, "the look that ends the wait, and a decision")
        assert looked(watch) == looks + 1
        wakes = watch.wake_at(due)
        assert wakes is not None
        assert wakes > due + timedelta(seconds=20)  # what there is now is the regular look


def looked(watch: Watch) -> int:
    return sum(run.count for run in watch.app.history.runs("vps") if run.evidence.seen is ProbeClass.DOWN)


def test_the_end_of_a_look_ends_the_sleep(tmp_path: Path) -> None:
    ended = threading.Event()
    with watching(tmp_path) as watch:
        watch.nudge = ended.set
        watch.step(watch.app.clock.now())
        assert ended.wait(60)


def test_a_prober_that_must_keep_quiet_wakes_nobody(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        remember(watch, target_of(watch), ProbeClass.UP, ProbeClass.PROBE_BLOCKED)
        watch.step(watch.app.clock.now())
        wait_until(lambda: _decided(watch), 60, "the domain was decided")
        now = watch.app.clock.now()
        wakes = watch.wake_at(now + timedelta(seconds=5))
        assert wakes is not None
        assert wakes > now + timedelta(seconds=30)


def _decided(watch: Watch) -> bool:
    watch.step(watch.app.clock.now())
    return f"watch:{DOMAIN}" in watch.app.duties.all()
