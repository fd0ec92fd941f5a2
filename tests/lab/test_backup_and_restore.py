"""A mailbox on a real Dovecot goes over a real sshd into two real repositories, and comes back."""

import json
import random
import signal
from collections.abc import Iterator

import pytest

from tests.lab.controller import REPOSITORIES, Controller
from tests.lab.lab import Lab
from tests.lab.names import ALICE, BOB, DOMAIN, NAS_KNOWN_HOSTS, PASSWORDS, VMAIL_ROOT
from tests.support import Moments, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


@pytest.fixture
def controller(mended: Lab) -> Iterator[Controller]:
    made = Controller(mended)
    made.forget()
    made.configure()
    for mailbox in (ALICE, BOB):
        mended.primary.empty(mailbox)
    yield made
    made.close()


def restic(controller: Controller, repository: str, *words: str) -> str:
    """Bare restic, as a person without failsafe would call it."""
    environment = {"RESTIC_PASSWORD_FILE": "/etc/failsafe/repository.password", "RESTIC_REPOSITORY": REPOSITORIES[repository]}
    return controller.nas.run("restic", *words, env=environment, timeout=120).stdout


def restore_to_imap(controller: Controller, *words: str, status: int | None = 0) -> dict[str, object]:
    answer = controller.verb(
        "restore", *words, "--to", "imap", "--imap-password-file", "/etc/failsafe/imap.password", "--yes", "--json", status=status
    )
    return dict(answer.value)


def seen_by_clients(digest: dict[str, object]) -> dict[str, object]:
    """A mailbox without what must differ after messages came back: the UIDs."""
    strip = json.loads(json.dumps(digest))
    return {
        name: sorted(
            (message["id"], tuple(message["flags"]), message["date"], message["sha256"]) for message in folder["messages"]
        )
        for name, folder in strip.items()
    }


def test_every_repository_is_made_on_first_use_and_gets_a_snapshot_of_every_message(controller: Controller) -> None:
    controller.forget(repositories=False)
    seeded = controller.lab.primary.seed(ALICE, 40)

    report = controller.backup()

    assert report["result"] == "ok"
    assert report["messages"]["total"] == len(seeded["ids"])
    assert {snapshot["repository"]: snapshot["result"] for snapshot in report["snapshots"]} == {"nas": "ok", "offsite": "ok"}
    listed = controller.verb("snapshots", "--json").lines
    assert {line["repository"] for line in listed} == {"nas", "offsite"}
    assert all(len(line["snapshot_id"]) == 64 for line in listed)


def test_a_second_backup_of_the_same_mail_takes_no_snapshot(controller: Controller) -> None:
    controller.lab.primary.seed(ALICE, 20)
    controller.backup()

    report = controller.backup()

    assert (report["unchanged"], report["snapshots"], report["messages"]["new"]) == (True, [], 0)


@pytest.mark.parametrize("layout", ["maildir++", "fs"])
def test_a_snapshot_stands_alone(controller: Controller, layout: str) -> None:
    primary, secondary, nas = controller.lab.primary, controller.lab.secondary, controller.nas
    for host in (primary, secondary):
        host.sh(f"rm -rf {VMAIL_ROOT}/{DOMAIN}")
        host.use_layout(layout)
    primary.seed(ALICE, 60)
    if layout == "fs":  # there a dot is a letter like any other
        primary.sh(
            f"doveadm mailbox create -u {ALICE} -s 'Rechnungen 2.0/v1.5'; printf 'X-Lab-Id: dots\\n\\nx\\n' | doveadm save -u {ALICE} -m 'Rechnungen 2.0/v1.5'"
        )
    before = primary.digest(ALICE)
    controller.backup()

    nas.sh("rm -rf /srv/bare; mkdir /srv/bare")
    restic(controller, "offsite", "restore", "latest", "--host", "failsafe-vps", "--target", "/srv/bare")
    nas.sh("cd $(dirname $(find /srv/bare -name rebuild.py)) && /usr/bin/python3 -I -S rebuild.py /srv/bare/out", timeout=120)
    nas.sh(
        f"scp -q -r -p /srv/bare/out/{DOMAIN} root@secondary:{VMAIL_ROOT}/ && ssh root@secondary chown -R vmail:vmail {VMAIL_ROOT}"
    )
    after = secondary.digest(ALICE)

    assert set(after) == set(before)
    assert layout == "maildir++" or [message["id"] for message in after["Rechnungen 2.0/v1.5"]["messages"]] == ["dots"]
    assert after == before  # folders, UIDVALIDITY, UIDs, flags, keywords, dates, bytes
    for host in (primary, secondary):
        host.sh(f"rm -rf {VMAIL_ROOT}/{DOMAIN}")
        host.use_layout("maildir++")


def test_a_deleted_message_comes_back_with_its_flags_and_date_and_only_once(controller: Controller) -> None:
    primary = controller.lab.primary
    primary.seed(ALICE, 40)
    controller.backup()
    before = primary.digest(ALICE)
    primary.empty(ALICE)

    (wanted,) = [
        line
        for line in controller.verb("search", "--message-id", "<seed-16@sender.test>", "--json").lines
        if line["folder"] == "Archive/2026"
    ]
    first = restore_to_imap(controller, "--id", wanted["id"])
    again = restore_to_imap(controller, "--id", wanted["id"])

    assert (first["added"], first["verified"], again["added"], again["already_there"]) == (1, True, 0, 1)
    (message,) = [message for message in before["Archive/2026"]["messages"] if message["id"] == "seed-16"]
    (found,) = primary.digest(ALICE)["Archive/2026"]["messages"]
    assert {key: found[key] for key in ("flags", "date", "sha256")} == {key: message[key] for key in ("flags", "date", "sha256")}


def test_a_whole_mailbox_comes_back_as_it_was(controller: Controller) -> None:
    primary = controller.lab.primary
    primary.seed(ALICE, 40)
    controller.backup()
    before = primary.digest(ALICE)
    primary.empty(ALICE)

    answer = restore_to_imap(controller, "--mailbox", ALICE)

    assert answer["missing"] == []
    assert seen_by_clients(primary.digest(ALICE)) == seen_by_clients(before)


def test_a_folder_comes_back_as_files(controller: Controller) -> None:
    controller.lab.primary.seed(ALICE, 40)
    controller.backup()

    for destination in ("maildir:/srv/restored/m", "eml:/srv/restored/e"):
        controller.verb("restore", "--mailbox", ALICE, "--folder", "Entwürfe", "--to", destination, "--yes")

    files = controller.nas.sh(
        f"find /srv/restored/m/{DOMAIN}/alice -type f -path '*/cur/*' | wc -l; find /srv/restored/e -name '*.eml' | wc -l"
    ).stdout.split()
    expected = len(controller.lab.primary.digest(ALICE)["Entwürfe"]["messages"])
    assert files == [str(expected), str(expected)]


def test_without_a_terminal_and_without_yes_nothing_is_restored(controller: Controller) -> None:
    controller.lab.primary.seed(ALICE, 10)
    controller.backup()

    answer = controller.verb("restore", "--mailbox", ALICE, "--to", "maildir:/srv/restored/x", status=2)

    assert "--yes" in answer.stderr
    assert controller.nas.sh("test -e /srv/restored/x", check=False).returncode == 1


def test_nothing_found_is_exit_1_and_says_so(controller: Controller) -> None:
    controller.lab.primary.seed(ALICE, 10)
    controller.backup()

    answer = controller.verb("restore", "--message-id", "<none@nowhere>", "--to", "maildir:/srv/restored/x", "--yes", status=1)

    assert "no message" in answer.stderr.lower() or "nothing" in answer.stderr.lower()


# -- what goes wrong says so, and leaves everything as it was


def test_an_unknown_host_key_stops_the_backup_and_names_the_mend(controller: Controller) -> None:
    controller.nas.write("/root/empty_known_hosts", "", 0o600)
    text = controller.nas.read("/etc/failsafe/failsafe.toml").replace(NAS_KNOWN_HOSTS, "/root/empty_known_hosts")
    controller.nas.write("/etc/failsafe/failsafe.toml", text, 0o600)

    answer = controller.verb("backup", "vps", status=4)

    assert "host key" in answer.stderr.lower()
    assert "ssh-keyscan" in answer.stderr


def test_a_wrong_repository_password_is_named_and_the_other_repository_still_gets_its_snapshot(controller: Controller) -> None:
    controller.lab.primary.seed(ALICE, 10)
    controller.backup()
    controller.nas.write("/etc/failsafe/wrong.password", "not it\n", 0o600)
    head, mark, tail = controller.nas.read("/etc/failsafe/failsafe.toml").partition("[repository.offsite]")
    controller.nas.write(
        "/etc/failsafe/failsafe.toml", head + mark + tail.replace("repository.password", "wrong.password", 1), 0o600
    )
    controller.lab.primary.seed(BOB, 5, "later")

    report = controller.backup(status=4)

    assert {snapshot["repository"]: snapshot["result"] for snapshot in report["snapshots"]} == {"nas": "ok", "offsite": "failed"}


def test_a_missing_restic_is_named_with_the_way_to_get_it(controller: Controller) -> None:
    controller.lab.primary.seed(ALICE, 5)
    controller.nas.sh("mkdir -p /srv/nopath && for p in env python3 sh ssh; do ln -sf $(command -v $p) /srv/nopath/$p; done")

    answer = controller.nas.sh("PATH=/usr/local/bin:/srv/nopath failsafe backup vps", check=False, timeout=120)

    assert answer.returncode == 4
    assert "restic" in answer.stderr
    assert "install" in answer.stderr


def test_an_unreachable_server_is_exit_4_and_what_was_stored_stays(controller: Controller) -> None:
    controller.lab.primary.seed(ALICE, 10)
    controller.backup()
    controller.lab.primary.power_off()

    answer = controller.verb("backup", "vps", status=4)

    assert "10.77.0.11" in answer.stderr
    assert len(controller.verb("snapshots", "--json").lines) == 2


def test_a_full_repository_disk_is_named_and_the_other_repository_still_gets_its_snapshot(controller: Controller) -> None:
    controller.lab.primary.seed(ALICE, 60)
    controller.nas.sh("mkdir -p /srv/backup/full && mount -t tmpfs -o size=300k tmpfs /srv/backup/full")
    controller.configure(repositories={"nas": "/srv/backup/nas", "small": "/srv/backup/full/repository"})

    report = controller.backup(status=4)

    assert {snapshot["repository"]: snapshot["result"] for snapshot in report["snapshots"]} == {"nas": "ok", "small": "failed"}
    controller.nas.sh("umount /srv/backup/full")


def test_a_bad_configuration_names_every_fault_and_exits_2(controller: Controller) -> None:
    controller.nas.write("/etc/failsafe/failsafe.toml", '[controller]\nstate = "/x"\n[repository.r]\nurl = "relative"\n', 0o600)

    answer = controller.verb("backup", status=2)

    assert all(key in answer.stderr for key in ("controller.state", "repository.r.url", "repository.r.password_file"))


def test_a_zone_that_may_not_be_written_is_named_and_stays_as_it_was(controller: Controller) -> None:
    controller.configure(mode="manual")
    controller.verb("doctor", status=None)
    controller.nas.write("/etc/failsafe/other.key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 0o600)
    text = controller.nas.read("/etc/failsafe/failsafe.toml").replace("/etc/lab/tsig.key", "/etc/failsafe/other.key")
    controller.nas.write("/etc/failsafe/failsafe.toml", text, 0o600)

    answer = controller.verb("failover", "example.test", "--yes", "--reason", "test", status=None)

    assert answer.status in (3, 4), answer
    assert "key" in answer.stderr.lower()
    assert controller.nas.authoritative_mx() == ["10 mx1.example.test."]


# -- kill -9


def killed_after(controller: Controller, seconds: float, *words: str) -> bool:
    """Starts a verb and kills it after a while; whether it was still running."""
    job = controller.start(*words)
    try:
        wait_until(lambda: job.poll() is not None, seconds, "the end", every=0.01)
        return False
    except AssertionError:
        return True
    finally:
        job.send_signal(signal.SIGKILL)
        job.close()  # the whole process group, restic included


@pytest.mark.first
def test_a_backup_killed_at_any_moment_is_finished_by_the_next_one(controller: Controller) -> None:
    moments, kills = Moments(random.Random(2026)), 0
    seeded = controller.lab.primary.seed(ALICE, 60)
    for attempt in range(30):
        if kills == 8:
            break
        if moments.measured_now:  # the last one came to its end: there is something to do again
            seeded = controller.lab.primary.seed(ALICE, 30, tag=f"more{attempt}")
        kills += moments.try_once(lambda seconds: killed_after(controller, seconds, "backup", "vps"))

    report = controller.backup()
    final = controller.backup()

    assert kills == 8, moments
    assert report["result"] == "ok"
    assert final["unchanged"] is True
    assert final["messages"]["total"] == len(seeded["ids"])
    for repository in REPOSITORIES:
        restic(controller, repository, "check", "--read-data", "--no-lock")  # a killed restic's may stand until it is reaped
    controller.verb("verify")


def test_a_restore_killed_at_any_moment_is_finished_by_the_next_one(controller: Controller) -> None:
    primary = controller.lab.primary
    moments, kills = Moments(random.Random(7)), 0
    primary.seed(ALICE, 60)
    controller.backup()
    before = primary.digest(ALICE)
    primary.empty(ALICE)
    words = ("restore", "--mailbox", ALICE, "--to", "imap", "--imap-password-file", "/etc/failsafe/imap.password", "--yes")

    for _ in range(30):
        if kills == 8:
            break
        if moments.measured_now:
            primary.empty(ALICE)  # the last one came to its end: begin again
        kills += moments.try_once(lambda seconds: killed_after(controller, seconds, *words))
    restore_to_imap(controller, "--mailbox", ALICE)

    assert kills == 8, moments
    assert PASSWORDS[ALICE] not in controller.nas.sh("ps ax -o args").stdout
    assert seen_by_clients(primary.digest(ALICE)) == seen_by_clients(before)
