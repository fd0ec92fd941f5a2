"""The conversation, held with values: what is asked, what is found out instead, and what comes of it."""

from __future__ import annotations

import pytest

from failsafe.config.load import parse_config
from failsafe.errors import Refused
from failsafe.model import Mode, Strategy
from failsafe.setting_up.choice import Choice, HostKeyChoice
from failsafe.setting_up.sight import Disk, MailFolder, SecondarySight, ServerSight, Size
from failsafe.setting_up.talk import converse, converse_more
from failsafe.setting_up.text import configuration
from tests.unit.setting_up.world import DEFAULTS, GB, KEY, Given, Person, seen

VMAIL = ServerSight("3.11", folders=(MailFolder("/var/vmail", 3, "vmail"),), sizes=(("/var/vmail", Size(7 * GB, 90_000)),))
ENOUGH: dict[str, str | list[str]] = {"--domain": "example.org", "--host-key": "y", "--secondary": "fastmail"}


def talk(given: Given, answers: dict[str, str | list[str]]) -> tuple[Choice, Person]:
    person = Person(dict(answers))
    return person.hold(converse(given, DEFAULTS)), person


def test_the_domain_and_two_answers_are_enough_where_the_rest_can_be_found() -> None:
    choice, person = talk(Given(server=VMAIL), ENOUGH)
    assert choice.domain.primary == ("mail.example.org",)
    assert (choice.server.layout, choice.server.path, choice.server.ssh) == (
        "maildir",
        "/var/vmail",
        "failsafe@mail.example.org:22",
    )
    assert choice.domain.secondary == ("in1-smtp.messagingengine.com", "in2-smtp.messagingengine.com")
    assert choice.server.size == Size(7 * GB, 90_000)
    assert "Found: /var/vmail holds 3 mailbox(es); 7.0 GB in 90000 files" in person.shown("--layout")


def test_the_host_key_has_no_default_and_is_asked_before_anybody_logs_in() -> None:
    given = Given(server=VMAIL)
    _choice, person = talk(given, ENOUGH)
    question = next(each for each in person.asked if each.flag == "--host-key")
    assert (question.default, question.explicit) == ("", True)
    assert "ssh-ed25519 SHA256:right" in "\n".join(question.shown)
    assert person.flags.index("--host-key") < person.flags.index("--look-as")


@pytest.mark.parametrize("said", ["n", "SHA256:other"])
def test_a_host_key_that_is_not_the_expected_one_ends_it(said: str) -> None:
    given = Given(server=VMAIL)
    with pytest.raises(Refused, match="SHA256:right"):
        talk(given, {**ENOUGH, "--host-key": said})
    assert given.looks == []


def test_the_expected_fingerprint_is_an_answer_too() -> None:
    choice, _person = talk(Given(server=VMAIL), {**ENOUGH, "--host-key": "SHA256:right"})
    assert choice.server.host_key == KEY


def test_a_pinned_host_key_is_not_asked_again_and_another_one_is_refused() -> None:
    choice, person = talk(Given(server=VMAIL, known=("SHA256:right",)), ENOUGH)
    assert "--host-key" not in person.flags
    assert choice.server.host_key == HostKeyChoice("mail.example.org", "", "SHA256:right")
    with pytest.raises(Refused, match="SHA256:old"):
        talk(Given(server=VMAIL, known=("SHA256:old",)), ENOUGH)


def test_a_server_that_cannot_be_reached_is_set_up_all_the_same_with_its_key_to_be_pinned_later() -> None:
    given = Given(key="mail.example.org:22 does not show its host key: refused")
    choice, person = talk(given, {**ENOUGH, "--layout": "maildir", "--path": "/var/vmail"})
    assert choice.server.host_key == HostKeyChoice("mail.example.org")
    assert "--host-key" not in person.flags
    assert given.looks == []


def test_why_the_server_could_not_be_looked_at_is_said_and_the_layout_asked() -> None:
    sight = ServerSight(trouble="mail.example.org:22 does not accept the login: no key", mend="add a key")
    choice, person = talk(Given(server=sight), {**ENOUGH, "--layout": "docker-mailserver", "--path": "container:mailserver"})
    assert "does not accept the login" in person.shown("--layout")
    assert "add a key" in person.shown("--layout")
    assert (choice.server.container, choice.server.path) == ("mailserver", "")


def test_a_folder_that_is_named_is_looked_at_for_its_size() -> None:
    given = Given(server=ServerSight("3.11"))
    talk(given, {**ENOUGH, "--layout": "maildir", "--path": "/data/mail"})
    assert given.looks[1] == ("root@mail.example.org:22", ("/data/mail", "/data/mail/mail-data", "/data/mail/mail"))


def test_mail_on_this_machine_is_looked_at_without_ssh() -> None:
    given = Given(server=VMAIL)
    choice, person = talk(given, {**ENOUGH, "--ssh": "local"})
    assert given.looks == [("", ())]
    assert (choice.server.ssh, choice.server.host_key) == ("", None)
    assert not {"--host-key", "--look-as"} & set(person.flags)


def test_without_ssh_mail_is_read_over_imap_by_a_master_user() -> None:
    choice, person = talk(Given(), {**ENOUGH, "--ssh": "none", "--mailbox": "a@example.org, b@example.org"})
    assert (choice.server.layout, choice.server.mailboxes) == ("imap", ("a@example.org", "b@example.org"))
    assert "--layout" not in person.flags
    assert "auth_master_user_separator" in person.shown("--imap")


def test_an_accounts_file_that_cannot_be_read_is_asked_again_with_the_reason() -> None:
    answers = {**ENOUGH, "--ssh": "none", "--mailbox": ["file:/nowhere", "file:/etc/failsafe/accounts"]}
    choice, person = talk(Given(), answers)
    assert choice.server.accounts_file == "/etc/failsafe/accounts"
    assert "cannot read /nowhere" in person.shown("--mailbox")


def test_records_of_a_known_provider_are_the_secondary_and_not_the_primary() -> None:
    given = Given(seen((10, "mail.example.org"), (20, "mail.protonmail.ch"), (30, "mailsec.protonmail.ch")), VMAIL)
    answers = {"--domain": "example.org", "--host-key": "y", "--strategy": "on-demand"}
    choice, person = talk(given, answers)
    assert choice.domain.primary == ("mail.example.org",)
    assert choice.domain.secondary_name == "Proton Mail"
    assert "Advised: swap" in person.shown("--strategy")
    assert choice.domain.why.startswith("chosen by you; swap was advised")


def test_swap_asks_for_the_login_that_fetches_mail_from_the_secondary() -> None:
    answers = {**ENOUGH, "--strategy": "swap", "--homecoming": "imap.fastmail.com", "--homecoming-user": "you@fastmail.com"}
    choice, _person = talk(Given(server=VMAIL), answers)
    assert choice.domain.homecoming is not None
    assert (choice.domain.homecoming.host, choice.domain.homecoming.port) == ("imap.fastmail.com", 993)
    config = parse_config(configuration(choice).encode(), "x")
    assert config.domain["example.org"].strategy is Strategy.SWAP


def test_a_secondary_whose_names_nobody_knows_asks_for_them() -> None:
    answers = {**ENOUGH, "--secondary": ["mailbox-org", "mxext1.mailbox.org,mxext2.mailbox.org"]}
    choice, _person = talk(Given(server=VMAIL), answers)
    assert choice.domain.secondary == ("mxext1.mailbox.org", "mxext2.mailbox.org")


def test_the_own_server_cannot_be_its_own_secondary() -> None:
    answers = {**ENOUGH, "--secondary": ["mail.example.org", "mx.away.example"]}
    choice, person = talk(Given(server=VMAIL), answers)
    assert choice.domain.secondary == ("mx.away.example",)
    assert "your own server's name" in person.shown("--secondary")


def test_what_dns_says_of_the_secondary_is_shown_before_the_strategy() -> None:
    given = Given(server=VMAIL, secondary_sight=SecondarySight(("mail.protonmail.ch",), verified=False, in_spf=False))
    _choice, person = talk(given, {**ENOUGH, "--secondary": "proton"})
    shown = person.shown("--strategy")
    assert "mail.protonmail.ch has no address" in shown
    assert "example.org TXT protonmail-verification=… is not published" in shown
    assert "SPF lacks include:_spf.protonmail.ch" in shown


def test_without_a_secondary_the_records_are_not_asked_about_and_the_domain_stands_in_comments() -> None:
    choice, person = talk(Given(server=VMAIL), {**ENOUGH, "--secondary": "none"})
    assert not {"--dns", "--strategy"} & set(person.flags)
    config = parse_config(configuration(choice).encode(), "x")
    assert not config.domain
    assert config.probe["mail"].smtp


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        (("dana.ns.cloudflare.com", "kurt.ns.cloudflare.com"), "cloudflare"),
        (("ns-1.awsdns-01.org", "ns-2.awsdns-02.co.uk"), "route53"),
        (("ns1.example.net",), "none"),
        (("dana.ns.cloudflare.com", "ns1.example.net"), "none"),
    ],
)
def test_the_dns_provider_is_known_by_all_name_servers_of_the_zone(servers: tuple[str, ...], expected: str) -> None:
    given = Given(seen(servers=servers), VMAIL, zone="0" * 32)
    _choice, person = talk(given, ENOUGH)
    assert next(each for each in person.asked if each.flag == "--dns").default == expected


def test_a_name_server_of_ones_own_gets_a_key_that_is_made_here() -> None:
    choice, _person = talk(Given(server=VMAIL), {**ENOUGH, "--dns": "rfc2136"})
    assert choice.dns is not None
    assert (choice.dns.server, choice.dns.key_file) == ("ns1.example.net:53", "/etc/failsafe/rfc2136.key")
    assert choice.domain.dns == "rfc2136"


def test_a_network_file_system_is_no_place_for_state() -> None:
    given = Given(server=VMAIL, kinds={"/net": Disk("/net", "/net", "nfs4", GB, GB, is_network=True)})
    choice, person = talk(given, {**ENOUGH, "--state-dir": ["/net/state", "/closed/state", "/srv/state"]})
    assert choice.state_dir == "/srv/state"
    assert "network file system (nfs4)" in person.shown("--state-dir")
    assert "may not be written" in person.shown("--state-dir")


def test_the_room_that_is_needed_stands_beside_what_is_free() -> None:
    small = Disk("/volume1", "/volume1", "btrfs", 2 * GB, 4 * GB)
    _choice, person = talk(Given(server=VMAIL, kinds={"/volume1": small}), {**ENOUGH, "--repository": "/volume1/mail"})
    assert "There are 7.0 GB of mail: about 8.8 GB for the state folder and 9.1 GB for the repository" in person.shown(
        "--state-dir"
    )
    assert "2.0 GB free of 4.0 GB on /volume1 (btrfs); TOO LITTLE, 9.1 GB are needed" in person.shown("--repository")
    assert "every administrator of this machine" in person.shown("--state-dir")


def test_one_disk_for_both_folders_is_reckoned_together_and_warned_of() -> None:
    _choice, person = talk(Given(server=VMAIL), ENOUGH)
    assert "share one file system" in person.shown("--offsite")


def test_a_url_with_a_password_is_not_taken() -> None:
    answers = {**ENOUGH, "--offsite": ["rest:https://me:secret@host/", "rest:https://host/"]}
    choice, person = talk(Given(server=VMAIL), answers)
    assert choice.offsite == "rest:https://host/"
    assert "secret" not in person.shown("--offsite")


def test_it_begins_with_observing_whatever_is_answered() -> None:
    choice, _person = talk(Given(server=VMAIL), {**ENOUGH, "--dns": "rfc2136"})
    assert parse_config(configuration(choice).encode(), "x").domain["example.org"].mode is Mode.OBSERVE


def test_one_more_domain_asks_about_the_domain_alone() -> None:
    person = Person({"--secondary": "migadu", "--dns": "none"})
    chosen, dns = person.hold(converse_more(Given(), "example.net", ["mail"], [], "/etc/failsafe"))
    assert (chosen.server, dns) == ("mail", None)
    assert set(person.flags) == {"--primary", "--secondary", "--strategy", "--dns"}


def test_one_more_domain_may_share_a_dns_table_but_never_a_zone_of_cloudflare() -> None:
    person = Person({"--secondary": "migadu", "--dns-table": "y"})
    chosen, dns = person.hold(converse_more(Given(), "example.net", ["mail"], [("own", "rfc2136")], "/f"))
    assert (chosen.dns, dns) == ("own", None)
    person = Person({"--secondary": "migadu", "--dns": "cloudflare", "--dns-zone-id": "a" * 32})
    chosen, dns = person.hold(converse_more(Given(), "example.net", ["mail"], [("cloudflare", "cloudflare")], "/f"))
    assert dns is not None
    assert chosen.dns == dns.name == "cloudflare2"
