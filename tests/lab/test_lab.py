"""Every verb of the lab, on the real servers it is about."""

import pytest

from tests.lab.host import HostError
from tests.lab.lab import Lab
from tests.lab.names import ALICE, BOB, MX_PRIMARY, MX_SECONDARY
from tests.support import wait_until

pytestmark = pytest.mark.lab

ARRIVES = 60
"""Seconds within which mail arrives on a slow machine; the usual time is under one, after an outage under ten."""


def arrived(lab: Lab, host: str, tag: str, messages: int) -> bool:
    """Whether exactly these messages are in alice's mailbox at that host."""
    server = lab.primary if host == "primary" else lab.secondary
    return [i for i in server.imap_ids() if i.startswith(f"{tag}-")] == sorted(f"{tag}-{n}" for n in range(messages))


def expect_mail(lab: Lab, host: str, tag: str, messages: int) -> None:
    wait_until(lambda: arrived(lab, host, tag, messages), ARRIVES, f"{messages} messages {tag} at the {host}")


def resolver_says(lab: Lab, records: list[str]) -> None:
    wait_until(lambda: lab.nas.resolved_mx() == records, 30, f"the resolver gives {records}")


def test_mail_goes_to_the_host_that_the_mx_record_names(mended: Lab) -> None:
    accepted = mended.sender.send(5, "to-mx")
    assert accepted == [f"to-mx-{n}" for n in range(5)]
    expect_mail(mended, "primary", "to-mx", 5)
    assert mended.secondary.maildir_ids() == []


def test_after_a_signed_update_of_the_mx_record_mail_goes_to_the_secondary(mended: Lab) -> None:
    resolver_says(mended, MX_PRIMARY)
    mended.nas.set_mx(MX_SECONDARY)
    assert mended.nas.authoritative_mx() == MX_SECONDARY
    resolver_says(mended, MX_SECONDARY)
    mended.sender.send(3, "flipped")
    expect_mail(mended, "secondary", "flipped", 3)
    assert not [i for i in mended.primary.maildir_ids() if i.startswith("flipped-")]


def test_an_update_signed_with_another_key_is_refused(mended: Lab) -> None:
    mended.nas.write("/root/wrong.key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 0o600)
    with pytest.raises(HostError, match=r"PeerBadSignature|BADSIG|NOTAUTH"):
        mended.nas.set_mx(MX_SECONDARY, "/root/wrong.key")
    assert mended.nas.authoritative_mx() == MX_PRIMARY


def test_without_power_a_host_is_silent_and_its_mail_waits_until_it_boots(mended: Lab) -> None:
    primary, sender = mended.primary, mended.sender
    primary.power_off()
    assert mended.nas.connect(primary.address, 25) == "silent"
    sender.send(4, "dark")
    wait_until(lambda: sender.queue_length() == 4, 30, "the messages wait at the sender")
    assert not [i for i in primary.maildir_ids() if i.startswith("dark-")]
    primary.boot()
    expect_mail(mended, "primary", "dark", 4)
    wait_until(lambda: sender.queue_length() == 0, 30, "the sender's queue is empty")
    assert sender.bounces() == []


def test_what_was_written_before_a_power_off_is_there_after_it(mended: Lab) -> None:
    mended.primary.write("/root/note", "kept\n")
    mended.sender.send(2, "kept")
    expect_mail(mended, "primary", "kept", 2)
    mended.primary.power_off()
    assert [i for i in mended.primary.maildir_ids() if i.startswith("kept-")] == ["kept-0", "kept-1"]
    mended.primary.boot()
    assert mended.primary.read("/root/note") == "kept\n"
    assert arrived(mended, "primary", "kept", 2)


def test_a_host_without_power_can_refuse_instead_of_being_silent(mended: Lab) -> None:
    mended.primary.power_off(refuses=True)
    assert mended.nas.connect(mended.primary.address, 25) == "refused"


def test_with_dovecot_killed_imap_is_refused_while_smtp_takes_mail_and_keeps_it(mended: Lab) -> None:
    primary = mended.primary
    primary.kill_service("dovecot")
    assert mended.nas.connect(primary.address, 993) == "refused"
    assert mended.nas.connect(primary.address, 25) == "open"
    mended.sender.send(3, "undelivered")
    wait_until(lambda: primary.queue_length() == 3, ARRIVES, "the primary's own queue holds the messages")
    primary.start("dovecot")
    expect_mail(mended, "primary", "undelivered", 3)
    wait_until(lambda: primary.queue_length() == 0, 30, "the primary's queue is empty")


def test_a_frozen_postfix_connects_and_says_nothing_until_it_thaws(mended: Lab) -> None:
    banner = f"exec 3<>/dev/tcp/{mended.primary.address}/25; timeout 1 head -c 3 <&3"
    mended.primary.freeze_service("postfix")
    assert mended.nas.connect(mended.primary.address, 25) == "open"
    assert mended.nas.sh(banner, check=False).stdout == ""
    mended.primary.thaw_service("postfix")
    wait_until(lambda: mended.nas.sh(banner, check=False).stdout == "220", 30, "Postfix greets again")


def test_with_its_cable_out_a_host_is_silent_but_goes_on_running(mended: Lab) -> None:
    primary = mended.primary
    job = primary.popen("bash", "-c", "until [ -e /root/go ]; do sleep 0.05; done; echo went on")
    primary.link("down")
    assert mended.nas.connect(primary.address, 25) == "silent"
    primary.write("/root/go", "")
    assert job.wait(30) == 0
    assert job.stdout() == "went on\n"
    job.close()
    primary.link("up")
    wait_until(lambda: mended.nas.connect(primary.address, 25) == "open", 30, "the primary answers again")


def test_without_the_dns_host_mail_waits_at_the_sender(mended: Lab) -> None:
    mended.dns.power_off()
    mended.sender.send(2, "nameless")
    wait_until(lambda: mended.sender.queue_length() == 2, 30, "the messages wait at the sender")
    mended.dns.boot()
    expect_mail(mended, "primary", "nameless", 2)


def test_a_zone_that_was_updated_survives_the_name_servers_power_off(mended: Lab) -> None:
    mended.nas.set_mx(MX_SECONDARY)
    mended.dns.power_off()
    mended.dns.boot()
    assert mended.nas.authoritative_mx() == MX_SECONDARY


def test_a_seeded_mailbox_has_folders_flags_keywords_dates_and_a_hole(mended: Lab) -> None:
    seeded = mended.primary.seed(BOB, 60, "s")
    digest = mended.primary.digest(BOB)
    assert {"INBOX", "Archive/2026", "Entwürfe", "Sent Items"} <= set(seeded["folders"])
    assert sorted(digest) == seeded["folders"]
    messages = [one for folder in digest.values() for one in folder["messages"]]
    assert sorted(one["id"] for one in messages) == seeded["ids"] == mended.primary.maildir_ids(BOB)
    assert {"\\Seen", "\\Flagged", "$Label1", "Projekt"} <= {flag for one in messages for flag in one["flags"]}
    assert [one["uid"] for one in digest["Archive/2026"]["messages"]][:3] == [1, 2, 4]
    assert all("-2023 " in one["date"] or "-2024 " in one["date"] for one in messages)


def test_each_server_has_its_own_mailboxes(mended: Lab) -> None:
    mended.secondary.seed(ALICE, 10, "there")
    assert not [i for i in mended.primary.maildir_ids() if i.startswith("there-")]
    mended.secondary.empty()
    assert mended.secondary.digest()["INBOX"]["messages"] == []
