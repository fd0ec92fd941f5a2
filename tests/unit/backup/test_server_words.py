"""What a person is told at the end of a whole-server restore."""

from __future__ import annotations

from failsafe.backup.server_words import Outcome, client_words, person_words

USUAL = Outcome(
    "vps", "docker-mailserver", "2026-11-20 12:00+01:00", is_older=False, kept_uids=3, has_keys=True, has_certificates=True
)


def said(**changes: object) -> str:
    from dataclasses import replace

    outcome = replace(USUAL, **changes)  # type: ignore[arg-type]
    return "\n".join((*client_words(outcome), *person_words(outcome)))


def test_a_new_address_is_told_with_dns_ptr_spf_firewall_and_the_configuration() -> None:
    text = said(new_address="192.0.2.7", names=("mail.example.org",), elsewhere=("mail.example.org",))

    for word in ("A and AAAA of mail.example.org to 192.0.2.7", "PTR", "SPF", "Firewall", "[mail_server.vps]"):
        assert word in text


def test_an_unchanged_address_asks_nothing_of_dns() -> None:
    assert "PTR" not in said()


def test_an_older_state_says_where_newer_messages_are_and_what_ends_the_guard() -> None:
    text = said(is_older=True, newer_as_of="2026-11-22 09:00+01:00")

    assert "--gone --to imap" in text
    assert "failsafe accept vps" in text
    assert "failsafe accept" not in said()


def test_missing_keys_and_certificates_are_told() -> None:
    text = said(has_keys=False, has_certificates=False)

    assert "No DKIM key" in text
    assert "Certificates were not among" in text


def test_mailcow_is_told_how_its_database_comes_back() -> None:
    text = said(layout="mailcow", work="/v/_data.failsafe-restore")

    assert "/v/_data.failsafe-restore/by-hand/commands/mailcow-database.sql" in text
    assert "mailcow-redis.rdb" in text


def test_commands_are_shown_where_doveadm_did_not_answer() -> None:
    assert "docker exec mail doveadm force-resync -A" in said(doveadm="docker exec mail doveadm")
    assert "force-resync" not in said(resynced=True)


def test_files_of_one_machine_are_named_with_their_place() -> None:
    text = said(work="/srv/w", by_hand=("server/etc/fstab", "commands/roundcube.sql"))

    assert "/srv/w/by-hand/server: server/etc/fstab" in text
    assert "/srv/w/by-hand/commands: roundcube.sql" in text
