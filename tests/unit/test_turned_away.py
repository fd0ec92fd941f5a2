"""A proof of a returned primary is tried every two minutes: where the server turns this machine away before TLS can begin, it says nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.failover.facts import PrimaryCheck
from failsafe.mail.replies import Reply, Stage, classify
from failsafe.model import Axis, ProbeClass
from failsafe.primary import prove_primary
from tests.contract.configs import domain_table
from tests.contract.mail_servers import ScriptedServer, Talk
from tests.unit.looks.world import NOW, configured, remember

OURS = Reply(554, ("5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.spamhaus.org",))


def polite(talk: Talk) -> None:
    talk.say("220 hello")
    talk.answer_all({})


@pytest.mark.parametrize(("stage", "sessions"), [(Stage.GREETING, 0), (Stage.EHLO, 0), (Stage.RCPT, 1)])
def test_it_is_not_asked_for_its_certificate_where_it_shows_none_to_us(tmp_path: Path, stage: Stage, sessions: int) -> None:
    judged = classify(stage, OURS)
    assert judged.seen is ProbeClass.PROBE_BLOCKED
    with ScriptedServer(polite) as server, configured(tmp_path, port=server.port, more=domain_table("example.org")) as app:
        remember(app, Axis.INBOUND, judged.seen, judged.text, NOW, *judged.signs)

        found = {check.code: check for check in prove_primary(app, "example.org", NOW).checks}

        assert len(server.talks) == sessions
    tls: PrimaryCheck = found["tls"]
    assert (tls.ok, "cannot be seen from here" in tls.text) == (False, sessions == 0)
