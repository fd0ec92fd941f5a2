"""As a new user would: failsafe installed in a clean Debian, as the pages say, and the tutorial walked from it in the lab (--all).

The clean root stands in the lab's home network once its packages are there; nothing of this machine's Python or sources is inside.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.clean_roots import Root, clean_root, needs_all, needs_roots
from tests.contract.wheels import ROOT, real_wheel
from tests.lab.lab import Lab
from tests.lab.names import ALICE, CA_FILE, MX_NAMES, MX_PRIMARY, PASSWORDS, PROBE, TSIG_FILE

pytestmark = [pytest.mark.lab, pytest.mark.first, pytest.mark.timeout(2400), needs_all, needs_roots]

PACKAGES = "apt-get update -qq && apt-get install -y -qq python3 python3-venv python3-pip restic openssh-client openssl"
KEPT = ("/root/.ssh", "/etc/hosts", "/etc/resolv.conf")  # of the lab's NAS: its owner's own login, and where names are asked


def timed(root: Root, line: str, taken: dict[str, float], step: str) -> str:
    """Runs it as a person would; gives what was said. The seconds go into `taken`."""
    began = time.monotonic()
    outcome = root.run(line)
    taken[step] = taken.get(step, 0.0) + time.monotonic() - began
    assert outcome.returncode == 0, f"{line}\n{outcome.stdout}{outcome.stderr}"
    return outcome.stdout + outcome.stderr


@pytest.fixture(params=["bookworm", "trixie"])
def newcomer(request: pytest.FixtureRequest) -> Iterator[tuple[Root, dict[str, float]]]:
    """A clean root with failsafe installed by install.sh, and how long that took."""
    with clean_root(request.param) as root:
        taken: dict[str, float] = {}
        wheel = real_wheel()
        root.put(wheel, f"/root/dist/{wheel.name}")
        root.put(ROOT / "deploy" / "install.sh", "/root/deploy/install.sh")
        refused = root.run("cd /root && sh deploy/install.sh dist/failsafe_mail-*.whl")
        assert refused.returncode == 2
        assert "apt-get install python3 python3-venv" in refused.stderr
        timed(root, PACKAGES, taken, "packages of Debian's")
        timed(root, "cd /root && sh deploy/install.sh dist/failsafe_mail-*.whl", taken, "install.sh")
        yield root, taken


def moved_into(lab: Lab, root: Root) -> Root:
    """The root in the place of the lab's NAS: its network, its owner's SSH login, the key of the name server."""
    nas = Path(f"/proc/{lab.nas.pid}/root")
    for place in KEPT:
        for file in sorted((nas / place.lstrip("/")).rglob("*")) or [nas / place.lstrip("/")]:
            root.put(file, f"/{file.relative_to(nas)}")
    root.put(nas / TSIG_FILE.lstrip("/"), "/etc/failsafe/tsig.key")
    root.put(nas / CA_FILE.lstrip("/"), "/root/ca.pem")
    at_home = replace(root, network_of=lab.nas.pid)
    made = at_home.run(
        "chmod 700 /root/.ssh && chmod 600 /root/.ssh/* /etc/failsafe/tsig.key && chown failsafe /etc/failsafe/tsig.key && "
        "cat /root/ca.pem >> /etc/ssl/certs/ca-certificates.crt && rm /root/ca.pem"
    )
    assert made.returncode == 0, made.stderr
    return at_home


def test_the_tutorial_walked_from_a_clean_debian(
    mended: Lab, newcomer: tuple[Root, dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.lab.test_tutorial import HOST_KEY, SEEDED, blocks, with_names_of_the_lab  # the page's own test, in the lab's NAS

    fresh, taken = newcomer
    root = moved_into(mended, fresh)
    mended.primary.sh(f"ssh-keygen -y -f {HOST_KEY} > {HOST_KEY}.pub; rm -rf /opt/failsafe-server /etc/failsafe-server.json")
    mended.primary.empty(ALICE)
    mended.primary.seed(ALICE, SEEDED)
    said, moved = "", []

    for block in blocks():
        text = with_names_of_the_lab(block.text)
        step = f"tutorial, line {block.line}"
        if "failsafe failover" in text:
            first, _, second = text.partition("failsafe status")
            said += timed(root, f"set -eu\n{first}", taken, step)
            moved.append(mended.nas.authoritative_mx())
            text = f"failsafe status{second}"
        said += timed(root, f"set -eu\n{text}", taken, step)
        if "failsafe init" in text:
            password = f"printf '%s' '{PASSWORDS[PROBE]}' > /etc/failsafe/probe.password"
            timed(root, password, taken, step)

    with capsys.disabled():
        print(
            f"\n{fresh.suite}: {sum(taken.values()):.0f} s; "
            + ", ".join(f"{step} {seconds:.1f}" for step, seconds in taken.items())
        )
    assert moved == [sorted([f"5 {MX_NAMES['secondary']}.", *MX_PRIMARY])]
    assert mended.nas.authoritative_mx() == MX_PRIMARY
    brought_back = root.run(
        "cat /tmp/brought-back/*/*/cur/* /tmp/brought-back/*/*/new/* 2>/dev/null | grep -c '^X-Lab-Id:'"
    ).stdout
    assert int(brought_back) == len(mended.primary.imap_ids(ALICE))
    assert "ready for a failover" in said
    owners = root.run("find /etc/failsafe /var/lib/failsafe /srv/backup/mail ! -user failsafe").stdout
    assert owners == "", "root's files would stop the daemon"


def test_pipx_installs_the_wheel_in_a_clean_debian() -> None:
    with clean_root("bookworm") as root:
        wheel = real_wheel()
        root.put(wheel, f"/root/{wheel.name}")
        taken: dict[str, float] = {}
        timed(root, "apt-get update -qq && apt-get install -y -qq pipx restic", taken, "packages")
        timed(root, f"pipx install /root/{wheel.name}", taken, "pipx")

        assert re.match(r"failsafe \d", timed(root, "failsafe --version", taken, "version"))
        assert "pydantic" in timed(root, "failsafe licences", taken, "licences")
        assert "mypy" not in timed(root, "failsafe licences", taken, "licences")
