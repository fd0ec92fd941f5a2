"""The chapters about backups: a mailbox goes into two repositories, stands alone there, and a deleted message comes back."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.demo import witness
from tests.demo.stage import Stage
from tests.demo.telling import NotVerifiedError
from tests.lab.controller import REPOSITORIES
from tests.lab.names import ALICE, DOMAIN, VMAIL_ROOT

LETTERS = 60
TAG = "letter"
WANTED, WANTED_FOLDER = f"{TAG}-16", "Archive/2026"
"""The message that is deleted in the end: it is answered and has two keywords."""
WRONG_PASSWORD = "/etc/failsafe/wrong.password"
RESTORED = "/srv/by-hand"
MAILDIR = f"{VMAIL_ROOT}/{DOMAIN}/alice"


def a_mailbox(stage: Stage) -> None:
    teller, primary = stage.teller, stage.lab.primary
    teller.chapter("A mailbox worth keeping")
    teller.say(f"""Alice keeps her mail on her own server, the primary: Postfix takes it in, Dovecot keeps it. {LETTERS} letters
        are put into it over IMAP, in folders with umlauts and blanks, with flags, keywords and dates.""")
    with teller.waiting("filling the mailbox"):
        primary.seed(ALICE, LETTERS, TAG)
        seen = primary.digest(ALICE)
    count = sum(len(folder["messages"]) for folder in seen.values())
    teller.answer(*(f"{len(folder['messages']):3} messages in {name}" for name, folder in seen.items()))
    teller.prove(
        f"over IMAP {count} messages are there, and as many files on the server's disk",
        count,
        len(witness.maildir(primary.disk(MAILDIR))),
    )


def into_two_repositories(stage: Stage) -> None:
    teller, lab = stage.teller, stage.lab
    teller.chapter("Pulled over SSH into two encrypted repositories")
    teller.say("""The NAS at home fetches what is new, and calls a backup good only when it is proved complete. Then restic
        stores it, encrypted, in two places: if one burns, the other has everything.""")
    begun = time.monotonic()
    report = stage.failsafe("backup", "vps", "--json").lines[0]
    teller.measured("first pull, two new repositories, two snapshots", time.monotonic() - begun)
    total = report["messages"]["total"]
    teller.answer(
        f"result {report['result']}: {total} messages, {report['bytes_pulled'] / 1e6:.1f} MB pulled",
        *(f"snapshot {one['snapshot_id'][:8]} in {one['repository']}: {one['result']}" for one in report["snapshots"]),
    )
    teller.prove("every message on the server's disk was counted", len(witness.maildir(lab.primary.disk(MAILDIR))), total)
    teller.measured("messages in the archive", str(total))
    _restic_agrees(stage, {one["repository"]: one["snapshot_id"] for one in report["snapshots"]})


def _restic_agrees(stage: Stage, reported: dict[str, str]) -> None:
    """restic's own listing, and its refusal of another password."""
    teller, lab = stage.teller, stage.lab
    teller.command(f"restic -r {REPOSITORIES['nas']} snapshots      # and the same for {REPOSITORIES['offsite']}")
    lab.nas.write(WRONG_PASSWORD, "a burglar's guess\n", 0o600)
    with teller.waiting("restic looks into both repositories"), ThreadPoolExecutor(2) as pool:
        listing = {name: pool.submit(witness.snapshots, lab, name) for name in REPOSITORIES}
        refused = pool.submit(witness.restic, lab, "offsite", "snapshots", password_file=WRONG_PASSWORD)
    listed = {name: [(one["id"], one["hostname"]) for one in found.result()] for name, found in listing.items()}
    for name, found in listed.items():
        teller.answer(*(f"{name}: {identity[:8]}  host {host}" for identity, host in found))
    expected = {name: [(reported.get(name), "failsafe-vps")] for name in REPOSITORIES}
    teller.prove("restic itself lists exactly these snapshots, one in each repository", expected, listed)
    status, said = refused.result()
    if status == 0 or "wrong password" not in said:
        raise NotVerifiedError("restic with another password", "a refusal", f"exit {status}: {said}")
    teller.proved("with another password restic refuses to open it: what lies there is encrypted")
    teller.measured("snapshots in each repository", " + ".join(str(len(found)) for found in listed.values()))


def stands_alone(stage: Stage) -> None:
    teller, lab = stage.teller, stage.lab
    teller.chapter("The snapshot stands alone")
    teller.say("""Suppose failsafe were gone tomorrow. Every snapshot carries its own reader: with bare restic and the system's
        own Python the mailbox comes back, without a line of failsafe installed.""")
    begun = time.monotonic()
    teller.command(f"restic -r {REPOSITORIES['offsite']} restore latest --host failsafe-vps --target {RESTORED}")
    with teller.waiting("restic restores"):
        status, said = witness.restic(lab, "offsite", "restore", "latest", "--host", "failsafe-vps", "--target", RESTORED)
    if status:
        raise NotVerifiedError("restic restore", "exit 0", f"exit {status}: {said}")
    teller.command(f"cd {RESTORED} && /usr/bin/python3 -I -S rebuild.py {RESTORED}-mail")
    with teller.waiting("rebuild.py writes Maildirs"):
        lab.nas.sh(f"cd $(dirname $(find {RESTORED} -name rebuild.py)) && /usr/bin/python3 -I -S rebuild.py {RESTORED}-mail")
    teller.measured("mailbox rebuilt without failsafe", time.monotonic() - begun)
    original = witness.maildir(lab.primary.disk(MAILDIR))
    rebuilt = witness.maildir(lab.nas.path(f"{RESTORED}-mail/{DOMAIN}/alice"))
    if original != rebuilt:
        raise NotVerifiedError("the rebuilt Maildir", f"{len(original)} files as on the server", _difference(original, rebuilt))
    teller.proved(f"""all {len(rebuilt)} message files are the server's own, byte for byte (SHA-256), with their folders, names,
        flags and dates""")


def _difference(original: set[witness.Stored], rebuilt: set[witness.Stored]) -> str:
    missing, strange = sorted(original - rebuilt), sorted(rebuilt - original)
    return f"{len(missing)} missing, such as {missing[:1]}; {len(strange)} that the server does not have, such as {strange[:1]}"


def a_deleted_message(stage: Stage) -> None:
    teller, primary = stage.teller, stage.lab.primary
    teller.chapter("A deleted message comes back")
    before = _message(primary.digest(ALICE))
    assert before is not None
    primary.delete(ALICE, WANTED_FOLDER, WANTED)
    teller.say(f"""Alice deletes a letter in {WANTED_FOLDER} by mistake and empties the trash. It had the flags and keywords
        {", ".join(before["flags"])} and was from {before["date"][:11]}.""")
    teller.prove("over IMAP it is gone", None, _message(primary.digest(ALICE)))
    begun = time.monotonic()
    found = stage.failsafe("search", "--message-id", f"<{WANTED}@sender.test>", "--json").lines
    found = [one for one in found if one["folder"] == WANTED_FOLDER]
    if len(found) != 1:
        raise NotVerifiedError("failsafe search", f"one message in {WANTED_FOLDER}", found)
    teller.answer(f"{found[0]['id'][:12]}…  {found[0]['mailbox']}  {found[0]['folder']}  {found[0]['subject']}")
    first = _restore(stage, found[0]["id"])
    teller.measured("deleted message found and back in its folder", time.monotonic() - begun)
    after = primary.digest(ALICE)
    back = _message(after) or {}
    same = ("id", "flags", "date", "sha256")
    teller.prove(
        "over IMAP it is back in its folder, with the same bytes, flags, keywords and date",
        {key: before[key] for key in same} | {"added": 1},
        {key: back.get(key) for key in same} | {"added": first["added"]},
    )
    again = _restore(stage, found[0]["id"])
    if (again["added"], again["already_there"]) != (0, 1):
        raise NotVerifiedError("the same restore once more", "0 added, 1 already there", again)
    teller.prove(
        "restored a second time, nothing is added: over IMAP the mailbox is as after the first", after, primary.digest(ALICE)
    )


def _restore(stage: Stage, identity: str) -> Any:
    words = (
        "restore",
        "--id",
        identity,
        "--to",
        "imap",
        "--imap-password-file",
        "/etc/failsafe/imap.password",
        "--yes",
        "--json",
    )
    shown = " ".join(words).replace(identity, f"{identity[:12]}…")
    result = stage.failsafe(*words, shown=shown).value
    stage.teller.answer(f"added {result['added']}, already there {result['already_there']}, verified {result['verified']}")
    return result


def _message(mailbox: dict[str, Any]) -> dict[str, Any] | None:
    """The wanted message as IMAP shows it; None if it is not there, NotVerifiedError if it is there twice."""
    found = [dict(message) for message in mailbox[WANTED_FOLDER]["messages"] if message["id"] == WANTED]
    if len(found) > 1:
        raise NotVerifiedError(f"{WANTED} in {WANTED_FOLDER}, over IMAP", "at most once", f"{len(found)} times")
    return found[0] if found else None
