"""The printed script, run as root on a mail server: what it puts there, what a second run does, what it refuses, and that nothing is left afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from failsafe.backup.layouts import Wanted
from failsafe.backup.serverside import digest
from failsafe.backup.source import open_source
from failsafe.errors import ServerSideError
from tests.contract import machine as machines
from tests.contract.attacks import LIST, PROGRAM
from tests.contract.machine import Machine, failsafe, script

HOME = "/opt/failsafe-server"
KEYS = f"{HOME}/.ssh/authorized_keys"
RULE = "/etc/sudoers.d/failsafe-server"
MAIL = """
set -e
useradd -u 5000 -M vmail
mkdir -p /srv/vmail/example.org/anna/cur /srv/vmail/example.org/anna/new /srv/extra
printf 'Subject: 1\\n\\nx\\n' >/srv/vmail/example.org/anna/cur/1:2,S
chown -R vmail: /srv/vmail
chmod 700 /srv/vmail
echo x >/srv/extra/conf
useradd -m -d /srv/home -p '*' backup2
"""
CLEAN = (
    f"while id failsafe; do userdel failsafe; done >/dev/null 2>&1; rm -rf {HOME} {LIST} {RULE} /srv/home/.ssh /root/.ssh; true"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machines.running(tmp_path_factory.mktemp("machine")) as machine:
        machine.sh(MAIL)
        yield machine


@pytest.fixture
def machine(server: Machine) -> Machine:
    """As before anything of ours was there."""
    server.sh(CLEAN)
    return server


def state(machine: Machine) -> str:
    """Everything that a script of ours may have touched, with owners, modes and content."""
    places = f"/opt /srv/home {LIST} {RULE} /etc/passwd /etc/group"
    return machine.sh(
        f"find {places} -type f -printf '%p %u %g %m %T@\\n' 2>/dev/null | sort; find {places} -type d -printf '%p %u %g %m\\n' 2>/dev/null | sort; "
        f"cat /etc/passwd /etc/group {LIST} {RULE} {KEYS} 2>/dev/null; true"
    )


def seen(machine: Machine, user: str = "failsafe") -> tuple[dict[str, object], list[str]]:
    """(greeting, mailboxes), as every backup sees them."""
    with open_source(machine.host(user), Wanted("maildir", "/srv/vmail")) as (session, _):
        return session.hello, [box.mailbox for box in session.survey()]


def test_mail_of_another_user_is_read_by_one_rule_of_sudo_as_that_user(machine: Machine) -> None:
    said = machine.run("sh", stdin=script(machine.config()))
    hello, mailboxes = seen(machine)

    assert "it answers, as vmail" in said
    assert mailboxes == ["anna@example.org"]
    assert (hello["mode"], hello["user"], hello["program"]) == ("installed", 5000, digest())
    assert machine.sh(f"grep -v '^#' {RULE} | tail -n 1") == f'failsafe ALL=(vmail) NOPASSWD: NOSETENV: {PROGRAM} ""\n'


def test_a_second_run_changes_nothing_and_says_so(machine: Machine) -> None:
    text = script(machine.config())
    first = machine.run("sh", stdin=text)
    before = state(machine)
    second = machine.run("sh", stdin=text)

    assert state(machine) == before
    assert "failsafe: done" in first
    assert second.splitlines()[-1] == "failsafe: nothing was changed"
    assert "written" not in second


def test_another_configuration_renews_only_what_it_changes(machine: Machine) -> None:
    machine.run("sh", stdin=script(machine.config()))
    said = machine.run("sh", stdin=script(machine.config('extra_paths = ["/srv/extra"]')))

    written = {line.split(":")[1].strip() for line in said.splitlines() if line.endswith(": written")}
    assert written == {f"{HOME}/serve", LIST, RULE}
    assert json.loads(machine.run("cat", LIST))["files"] == [{"path": "/srv/extra", "leave_out": []}]
    assert seen(machine)[0]["user"] == 0, "files of root's take root"


def test_what_was_put_there_can_be_taken_away_without_a_trace(machine: Machine) -> None:
    before = state(machine)
    machine.run("sh", stdin=script(machine.config()))
    assert state(machine) != before
    removal = script(machine.config(), "--remove")
    machine.run("sh", stdin=removal)

    def kept(text: str) -> list[str]:
        """Of /etc/passwd and /etc/group the content counts: useradd writes them anew."""
        return [line for line in text.splitlines() if not line.startswith(("/etc/passwd ", "/etc/group "))]

    assert kept(state(machine)) == kept(before)
    assert machine.run("sh", stdin=removal) == "failsafe: nothing was there\n"


def test_of_a_login_that_was_there_only_the_lines_with_our_key_change(machine: Machine) -> None:
    """Before, our key could run anything there; after --remove it is not let in at all, and the others still are."""
    ours = (machine.folder / "id.pub").read_text().strip()
    others = "# two people\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHoneHoneHoneHoneHoneHoneHoneHoneHoneHoneHon one\n"
    machine.sh(
        "mkdir -m 700 /srv/home/.ssh; touch /srv/home/.ssh/authorized_keys; chmod 600 /srv/home/.ssh/*; chown -R backup2: /srv/home"
    )
    keys = machine / "/srv/home/.ssh/authorized_keys"
    keys.write_text(f"{others}{ours}\n")
    config = machine.config(user="backup2")
    machine.run("sh", stdin=script(config))

    *before, line = keys.read_text().splitlines()
    assert "\n".join(before) + "\n" == others
    assert line == f'restrict,command="{HOME}/serve" {" ".join(ours.split()[:2])} failsafe'
    assert machine.sh("stat -c '%U %a' /srv/home/.ssh/authorized_keys") == "backup2 600\n"
    assert seen(machine, "backup2")[1] == ["anna@example.org"]
    machine.run("sh", stdin=script(config, "--remove"))
    assert keys.read_text() == others
    assert machine.sh("id -un backup2") == "backup2\n", "who was there before stays"


def test_a_login_as_root_needs_no_rule_and_can_do_no_more(machine: Machine) -> None:
    said = machine.run("sh", stdin=script(machine.config(user="root")))
    hello, mailboxes = seen(machine, "root")

    assert (hello["mode"], hello["user"], mailboxes) == ("installed", 0, ["anna@example.org"])
    assert "it answers, as root" in said
    assert machine.sh(f"ls {RULE} 2>/dev/null; true") == ""
    assert machine.sh("stat -c '%U %a' /root/.ssh/authorized_keys") == "root 600\n"


def test_a_link_where_keys_are_looked_for_is_not_written_through(machine: Machine) -> None:
    machine.sh("mkdir -p /srv/home/.ssh; ln -s /etc/shadow /srv/home/.ssh/authorized_keys; chown -hR backup2: /srv/home/.ssh")
    shadow = machine.run("cat", "/etc/shadow")

    said = machine.run("sh", stdin=script(machine.config(user="backup2")), check=False)

    assert "is a symbolic link" in said
    assert machine.run("cat", "/etc/shadow") == shadow


@pytest.mark.parametrize(
    ("plant", "undo", "words"),
    [
        (
            "printf '#!/bin/sh\\n[ \"$1\" != -V ] || echo Python 3.5.3\\n[ \"$1\" = -V ]' >/srv/old; chmod 755 /srv/old; mount --bind /srv/old /usr/bin/python3",
            "umount /usr/bin/python3",
            "Python 3.6 or newer is needed here, and there is Python 3.5.3 (/usr/bin/python3)",
        ),
        ("mount --bind /dev/null /usr/bin/sudo", "umount /usr/bin/sudo", "failsafe needs sudo to read it: apt-get install sudo"),
        ("mv /srv/vmail /srv/elsewhere", "mv /srv/elsewhere /srv/vmail", "there is no folder /srv/vmail here"),
        (f"mkdir -p {HOME}; chmod 777 {HOME}", "true", f"{HOME} must belong to root, and be writable by root alone"),
        ("chmod o+w /etc", "chmod o-w /etc", "/etc must belong to root, and be writable by root alone"),
        ("mount --bind /bin/false /usr/sbin/visudo", "umount /usr/sbin/visudo", "is refused by `visudo -c -q -f`"),
    ],
    ids=["an old Python", "no sudo", "no mail", "a folder of everybody's", "an /etc of everybody's", "a rule that visudo refuses"],
)  # fmt: skip
def test_what_cannot_be_well_is_said_and_nobody_is_let_in(machine: Machine, plant: str, undo: str, words: str) -> None:
    text = script(machine.config())
    machine.sh(plant)
    try:
        said = machine.run("sh", stdin=text, check=False)
    finally:
        machine.sh(undo)

    assert words in said
    assert "done" not in said
    assert machine.sh(f"ls {KEYS} {RULE} 2>/dev/null; true") == ""


def test_a_person_who_is_not_root_is_told_so(machine: Machine) -> None:
    said = machine.run("runuser", "-u", "backup2", "--", "sh", stdin=script(machine.config()), check=False)

    assert "this has to be run as root" in said


def test_what_is_missing_there_is_told_until_nothing_is(machine: Machine) -> None:
    """The line that is missing; that the key may run anything; an older program; a list that lacks something."""
    config = machine.config('extra_paths = ["/srv/extra"]')
    install = script(config)

    def check() -> tuple[int, dict[str, object]]:
        done = failsafe(config, "config", "check", "--connect", "--json")
        (server,) = json.loads(done.stdout)["servers"]
        return done.returncode, server

    refused = check()
    machine.run("sh", stdin=install)
    well = check()
    (machine / PROGRAM).write_bytes((machine / PROGRAM).read_bytes() + b"# of before\n")
    old = check()
    machine.run("sh", stdin=install)
    (machine / LIST).write_text('{"root": "/srv/vmail"}')
    lacking = check()
    machine.sh(f'sed -i \'s/^restrict,command="[^"]*" //\' {KEYS}')
    anything = check()

    line = f'restrict,command="{HOME}/serve" ssh-ed25519 '
    assert [code for code, _ in (refused, well, old, lacking, anything)] == [1, 0, 1, 1, 1]
    assert well[1]["ok"] is True
    assert all(
        str(row["mend"]).startswith("failsafe config server vps | ssh -p ") for _, row in (refused, old, lacking, anything)
    )
    assert str(refused[1]["line"]).startswith(line)
    assert "is not let in" in str(refused[1]["text"])
    assert "not the one of this failsafe" in str(old[1]["text"])
    assert "/srv/extra" in str(lacking[1]["text"])
    assert "may run anything" in str(anything[1]["text"])
    assert str(anything[1]["line"]).startswith(line)


def test_a_program_that_reads_nothing_says_why_and_how_it_is_mended(machine: Machine) -> None:
    machine.run("sh", stdin=script(machine.config()))
    machine.sh(f"chmod o+w {LIST}")

    with pytest.raises(ServerSideError, match="must belong to root and be writable by root alone") as caught:
        seen(machine)

    assert "failsafe config server vps" in caught.value.mend
