"""Inside namespaces of its own: the doctor looks at every domain of the small internet, then at a few whose primary is dead, then at those whose
name server is dead too. Prints JSON."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from failsafe.app import App
from failsafe.checkup.run import Diagnosis, run_checkup
from failsafe.config.load import parse_config
from failsafe.model import Axis, Evidence, ProbeClass
from tests.contract.published_world import AWAY, BOOTSTRAP, HOSTING, PRIMARY, SECRET, SERVERS, UNWANTED, WORLD, Web, ip, world
from tests.contract.sshd import Sshd, running

CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
time_zone = "UTC"
[own_line]
references = ["198.51.100.80:443"]
[doctor]
block_lists = ["bl.example", "refusing.example", "closed.example", "everything.example"]
domain_lists = ["dbl.example", "uncivil.example"]
registry = "{bootstrap}"
[dns.knot]
provider = "rfc2136"
server = "{hosting}:53"
key_name = "failsafe."
key_file = "{folder}/key"
"""
OVER_SSH = 'ssh = "{0.user}@127.0.0.1:{0.port}"\nssh_key = "{0.key}"\nknown_hosts = "{0.known_hosts}"\n'
SERVER = (
    '[mail_server.{0}]\nlayout = "maildir"\npath = "{1}"\n{2}[probe.{0}]\nrecipient = "probe@good.org"\nhelo = "nas.good.org"\n'
)
DOMAIN = """
[domain."{name}"]
server = "{server}"
dns = "knot"
primary = ["mail.{name}"]
secondary = ["{away}"]
strategy = "on-demand"
quorum = 1
dkim_selectors = ["mail"]
secondary_spf = ["_spf.away.example"]
secondary_dkim = ["away1"]
"""


def main(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "mail").mkdir()
    (folder / "key").write_text(SECRET)
    (folder / "key").chmod(0o600)
    found: dict[str, object] = {}
    (folder / "sshd").mkdir()
    with world(folder), running(folder / "sshd") as sshd:
        own_postfix(folder)
        app = make_app(folder, sshd, WORLD)
        note_a_greeting(app)
        found["whole"] = told(run_checkup(app))
        asked = len(Web.asked)
        set_postfix(f"smtp_bind_address = {UNWANTED}")
        found["bound"] = told(run_checkup(make_app(folder, sshd, ("good.org",))))
        set_postfix("smtp_bind_address =")
        few = make_app(folder, sshd, ("good.org", "unlisted.org", "listed.org", "onprimary.org"))
        for address in (PRIMARY, SERVERS["listed"].address):
            ip("address", "del", f"{address}/32", "dev", "lo")
        found["primary_dead"] = told(run_checkup(few))
        found["registry_asked_again"] = [each for each in Web.asked[asked:] if each.startswith("registry")]
        kill_the_hosting(folder)
        began = time.monotonic()
        found["names_dead"] = told(run_checkup(few))
        found["names_dead_seconds"] = time.monotonic() - began
    print(json.dumps(found))


def make_app(folder: Path, sshd: Sshd, names: Iterable[str]) -> App:
    """The first server is reached over SSH, the mail of the others lies here."""
    text = CONFIG.format(folder=folder, bootstrap=BOOTSTRAP, hosting=HOSTING)
    text += SERVER.format("vps", folder / "mail", OVER_SSH.format(sshd))
    text += "".join(SERVER.format(name, folder / "mail", "") for name in SERVERS)
    text += "".join(DOMAIN.format(name=name, server=WORLD[name].server, away=AWAY) for name in names)
    return App(parse_config(text.encode(), "test.toml"), folder / "failsafe.toml")


def own_postfix(folder: Path) -> None:
    """The settings of this machine's Postfix are those of the first server, in this namespace alone."""
    shutil.copytree("/etc/postfix", folder / "postfix", ignore=shutil.ignore_patterns("sasl"))
    subprocess.run(["mount", "--bind", str(folder / "postfix"), "/etc/postfix"], check=True)
    set_postfix(
        "myhostname = mail.good.org", "inet_interfaces = all", "relayhost =", "smtp_bind_address =", "smtp_bind_address6 ="
    )


def set_postfix(*settings: str) -> None:
    subprocess.run(["/usr/sbin/postconf", "-e", *settings], check=True)


def note_a_greeting(app: App) -> None:
    seen_at = app.clock.now()
    transcript = "S: 220 mail.good.org ESMTP\nC: EHLO nas.good.org"
    evidence = Evidence(
        "vps", "here", Axis.INBOUND, ProbeClass.UP, seen_at, "accepted", "probe@good.org at mail.good.org:25", 0.1, transcript
    )
    app.history.record(evidence, timedelta(minutes=1))
    app.history.flush(seen_at)


def told(diagnosis: Diagnosis) -> dict[str, object]:
    rows = [
        [each.subject, each.code, str(each.severity), each.text, each.blocks_failover, each.mend] for each in diagnosis.findings
    ]
    return {"findings": rows, "ready": diagnosis.ready}


def kill_the_hosting(folder: Path) -> None:
    """The name server of every domain dies, as it does with a primary that serves its own zone."""
    pids = subprocess.run(
        ["pgrep", "-f", str(folder / "hosting" / "knot.conf")], capture_output=True, text=True, check=True
    ).stdout
    for pid in pids.split():
        os.kill(int(pid), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
