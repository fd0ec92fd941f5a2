"""The tutorial, run as printed on the lab's NAS: its blocks in order, with the lab's names in the place of the examples."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.names import ALICE, AUTHORITATIVE, CA_FILE, DOMAIN, MX_NAMES, MX_PRIMARY, PASSWORDS, PROBE, TSIG_FILE
from tests.unit.docs.blocks import ROOT, Block, blocks_of

pytestmark = [pytest.mark.lab, pytest.mark.first, pytest.mark.timeout(900)]

NAMES = {  # of the page -> of the lab
    "mail.example.org": MX_NAMES["primary"],
    "mail2.example.net": MX_NAMES["secondary"],
    "ns1.example.net": AUTHORITATIVE,
    "anna@example.org": ALICE,
    "ann@example.org": ALICE,
    "example.org": DOMAIN,
}
PAGE = "docs/tutorial.md"
OTHERS = ("docs/search.md", "docs/erasure.md", "docs/drills.md")  # run after it: they need an archive, or the kit
SEEDED = 30
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"


def blocks(page: str = PAGE) -> list[Block]:
    """Those of a page that are run here; there is always one."""
    found = [
        each for each in blocks_of((ROOT / page).read_text(encoding="utf-8"), page) if (each.mark, each.said) == ("run", "lab")
    ]
    assert found, page
    return found


def with_names_of_the_lab(text: str) -> str:
    pattern = re.compile("|".join(re.escape(name) for name in NAMES))  # the longest come first
    return pattern.sub(lambda found: NAMES[found[0]], text)


def mended_inbox(newcomer: Controller) -> list[str]:
    """What Alice's INBOX holds, as the server says."""
    return newcomer.lab.primary.imap_ids(ALICE)


@pytest.fixture
def newcomer(mended: Lab) -> Iterator[Controller]:
    """A NAS that never ran failsafe, whose owner has mail, an SSH login at the server, and the key of the name server."""
    made = Controller(mended)
    made.forget(repositories=False)
    made.nas.sh(
        f"rm -rf /etc/failsafe /tmp/brought-back; install -d -m 700 /etc/failsafe /srv/backup; cp {TSIG_FILE} /etc/failsafe/tsig.key; chmod 600 /etc/failsafe/tsig.key"
    )
    made.nas.sh(
        f"cat {CA_FILE} >> /etc/ssl/certs/ca-certificates.crt"
    )  # the world's certificates are signed by one that everybody here knows
    mended.primary.sh(f"ssh-keygen -y -f {HOST_KEY} > {HOST_KEY}.pub")  # sshd needs the other half alone
    mended.primary.empty(ALICE)
    mended.primary.seed(ALICE, SEEDED)
    yield made
    made.close()


def test_every_block_of_the_tutorial_does_what_it_says(newcomer: Controller) -> None:
    nas, lab = newcomer.nas, newcomer.lab
    said = ""
    moved: list[list[str]] = []
    for block in blocks():
        text = with_names_of_the_lab(block.text)
        if "failsafe failover" in text:  # where mail went in between is seen by the name server
            first, _, second = text.partition("failsafe status")
            said += nas.sh(f"set -eu\n{first}", timeout=400).stdout
            moved.append(lab.nas.authoritative_mx())
            text = f"failsafe status{second}"
        said += nas.sh(f"set -eu\n{text}", timeout=400).stdout
        if "failsafe init" in text:  # what the page says in words
            nas.sh(f"umask 077; printf '%s' '{PASSWORDS[PROBE]}' > /etc/failsafe/probe.password")

    for page in OTHERS:
        for block in blocks(page):
            nas.sh(f"set -eu\n{with_names_of_the_lab(block.text)}", timeout=400)

    assert moved == [sorted([f"5 {MX_NAMES['secondary']}.", *MX_PRIMARY])]
    assert lab.nas.authoritative_mx() == MX_PRIMARY
    brought_back = nas.sh(
        "cat /tmp/brought-back/*/*/cur/* /tmp/brought-back/*/*/new/* 2>/dev/null | grep -c '^X-Lab-Id:' || true"
    ).stdout
    assert int(brought_back) == len(mended_inbox(newcomer))
    assert nas.sh("stat -c %a /tmp/failsafe-kit.html").stdout.strip() == "600"
    assert 'mode = "auto"' in nas.read("/etc/failsafe/failsafe.toml")
    assert "SHA256:" in said
    assert "ready for a failover" in said
