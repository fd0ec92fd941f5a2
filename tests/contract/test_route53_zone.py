"""The Route 53 adapter against a strict server: one batch that compares and sets, never a blind repeat, whatever is answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.adapters.route53 import Route53Zone
from failsafe.errors import DnsError, OutcomeUnknown, SecretError, ZoneChanged
from failsafe.model import MxChange, MxSet
from tests.fakes.route53_server import KEY_ID, SECRET_KEY, ZONE_ID, RefusedError, Route53Server, Set

DOMAIN, MAIL, AWAY = "example.org", "mail.example.org", "mx.away.example"
PEACE = MxSet.of((10, MAIL), ttl_seconds=60)
OUTAGE = MxSet.of((5, AWAY), (10, MAIL), ttl_seconds=60)
MX, LOCK = (f"{DOMAIN}.", "MX"), (f"_failsafe.{DOMAIN}.", "TXT")
BEFORE = Set(60, (f"10 {MAIL}.",))


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    file = tmp_path / "credentials"
    file.write_text(credentials_text())
    file.chmod(0o600)
    return file


def credentials_text(key_id: str = KEY_ID) -> str:
    return (
        f"[nas]\naws_access_key_id = {key_id}\naws_secret_access_key = {SECRET_KEY}\n[other]\nrole_arn = arn:aws:iam::1:role/x\n"
    )


@pytest.fixture
def server() -> Iterator[Route53Server]:
    with Route53Server.running(DOMAIN, [f"10 {MAIL}."]) as running:
        yield running


@pytest.fixture
def zone(server: Route53Server, credentials: Path) -> Route53Zone:
    return client(server, credentials)


def client(server: Route53Server, credentials: Path, zone_id: str | None = ZONE_ID, seconds: float = 5.0) -> Route53Zone:
    settings = {"profile": "nas", "answer_seconds": 0.4, "everywhere_seconds": seconds}
    return Route53Zone(zone_id, credentials_file=credentials, base_url=server.url, **settings)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_waiting_for_a_busy_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failsafe.adapters.route53_api.BUSY_WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr("failsafe.adapters.route53_api.FIRST_POLL", 0.01)


def change(expected: MxSet = PEACE, desired: MxSet = OUTAGE) -> MxChange:
    return MxChange(DOMAIN, DOMAIN, expected, desired, "failsafe failover epoch 7")


def test_a_change_is_one_batch_of_the_exact_old_set_the_new_one_and_the_lock(server: Route53Server, zone: Route53Zone) -> None:
    zone.apply(change())
    zone.apply(change(OUTAGE, PEACE))
    first, second = server.batches
    after = Set(60, (f"5 {AWAY}.", f"10 {MAIL}."))
    locks = [Set(60, (f'"failsafe lock {number}"',)) for number in (1, 2)]
    assert first == [("DELETE", MX, BEFORE), ("CREATE", MX, after), ("CREATE", LOCK, locks[0])]
    assert second == [("DELETE", MX, after), ("CREATE", MX, BEFORE), ("DELETE", LOCK, locks[0]), ("CREATE", LOCK, locks[1])]
    assert server.comments == ["failsafe failover epoch 7"] * 2


def test_the_set_is_deleted_as_it_was_written_there_whatever_its_spelling(credentials: Path) -> None:
    odd = ["20 MX2.Away.Example", f"10 {MAIL.upper()}."]
    with Route53Server.running(DOMAIN, odd, ttl=77) as server:
        zone = client(server, credentials)
        found = zone.read(DOMAIN, DOMAIN)
        assert found == MxSet.of((10, MAIL), (20, "mx2.away.example"), ttl_seconds=77)
        zone.apply(change(found, OUTAGE))
        assert server.batches[0][0] == ("DELETE", MX, Set(77, tuple(odd)))


def test_the_strict_server_refuses_a_stale_delete_whole(server: Route53Server) -> None:
    stale = "<Value>11 mail.example.org.</Value>"
    for ttl, value in ((60, stale), (61, "<Value>10 mail.example.org.</Value>")):
        records = f"<TTL>{ttl}</TTL><ResourceRecords><ResourceRecord>{value}</ResourceRecord></ResourceRecords>"
        entry = f"<ResourceRecordSet><Name>example.org</Name><Type>MX</Type>{records}</ResourceRecordSet>"
        body = f"<Changes><Change><Action>DELETE</Action>{entry}</Change></Changes>"
        root = '<ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch>'
        with pytest.raises(Exception, match="do not match the current values"):
            server.change(f"{root}{body}</ChangeBatch></ChangeResourceRecordSetsRequest>".encode())
    assert server.sets[MX] == BEFORE


@pytest.mark.parametrize("older", [False, True])
def test_what_changes_between_the_comparison_and_the_batch_is_refused_by_route_53_itself(
    server: Route53Server, zone: Route53Zone, older: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.older_errors = older
    real = zone._api.send

    def late(*arguments: object) -> str:
        server.by_hand(MX, Set(60, ("10 somewhere.example.net.",)))
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(zone._api, "send", late)
    with pytest.raises(ZoneChanged, match="changed while ours was on its way"):
        zone.apply(change())
    assert server.sets[MX].values == ("10 somewhere.example.net.",)
    assert LOCK not in server.sets


def test_the_change_is_waited_for_until_all_of_amazons_servers_have_it(server: Route53Server, zone: Route53Zone) -> None:
    server.pending_looks = 3
    zone.apply(change())
    assert list(server.looks.values()) == [4]


def test_a_change_that_is_long_pending_is_left_to_the_read_back(server: Route53Server, credentials: Path) -> None:
    server.pending_looks = 10_000
    client(server, credentials, seconds=0.05).apply(change())
    assert server.sets[MX].values == (f"5 {AWAY}.", f"10 {MAIL}.")


@pytest.mark.parametrize("fault", ["throttled", "busy"])
def test_what_route_53_says_it_did_not_do_is_asked_for_again_a_few_times(
    fault: str, server: Route53Server, zone: Route53Zone
) -> None:
    server.write_faults += [fault] * 3
    zone.apply(change())
    assert server.writes == 4
    server.write_faults += [fault] * 4
    with pytest.raises(DnsError, match="busy") as caught:
        zone.apply(change(OUTAGE, PEACE))
    assert not isinstance(caught.value, OutcomeUnknown)
    assert server.writes == 8
    server.read_faults += [fault] * 3
    assert zone.read(DOMAIN, DOMAIN) == OUTAGE


@pytest.mark.parametrize("comment", ["", "frozen before the sale"])
def test_a_protected_set_is_told_with_the_way_out(server: Route53Server, zone: Route53Zone, comment: str) -> None:
    server.protected[MX] = comment
    assert zone.protected(DOMAIN, DOMAIN) == (f"MX {DOMAIN}{f': {comment}' if comment else ''}",)
    with pytest.raises(DnsError, match=f"protects MX {DOMAIN}") as caught:
        zone.apply(change())
    assert not isinstance(caught.value, ZoneChanged | OutcomeUnknown)
    assert "delete-resource-record-set-protections" in caught.value.mend
    assert comment in str(caught.value)
    assert server.sets[MX] == BEFORE


@pytest.mark.parametrize("fault", ["denied", "html", "500", "hang-before"])
def test_protections_that_cannot_be_asked_for_are_not_taken_for_none(
    server: Route53Server, zone: Route53Zone, fault: str
) -> None:
    zone.read(DOMAIN, DOMAIN)
    server.read_faults.append(fault)
    with pytest.raises(DnsError) as caught:
        zone.protected(DOMAIN, DOMAIN)
    assert not server.read_faults
    if fault == "denied":
        assert "ListResourceRecordSetProtections" in caught.value.mend
    zone.apply(change())
    assert server.sets[MX].values == (f"5 {AWAY}.", f"10 {MAIL}.")


def test_a_refused_change_is_told_in_amazons_words_where_protections_may_not_be_asked_for(
    server: Route53Server, zone: Route53Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.protected[MX] = "frozen"
    monkeypatch.setattr(server, "list_protections", lambda: (_ for _ in ()).throw(RefusedError(403, "AccessDenied", "no")))
    with pytest.raises(DnsError, match="is protected"):
        zone.apply(change())


def test_a_set_with_a_routing_policy_is_not_ours_to_change(server: Route53Server, zone: Route53Zone) -> None:
    server.by_hand(MX, Set(60, BEFORE.values, more="<SetIdentifier>a</SetIdentifier><Weight>10</Weight>"))
    with pytest.raises(DnsError, match="SetIdentifier, Weight") as caught:
        zone.read(DOMAIN, DOMAIN)
    assert "simple routing" in caught.value.mend


def test_the_hosted_zone_is_found_by_its_name(server: Route53Server, credentials: Path) -> None:
    server.zones |= {"ZPRIVATE": (f"{DOMAIN}.", True), "ZOTHER": ("example.net.", False)}
    assert client(server, credentials, zone_id=None).read(DOMAIN, DOMAIN) == PEACE


@pytest.mark.parametrize(("others", "said"), [({"Z2": (f"{DOMAIN}.", False)}, "2 public"), (None, "no public")])
def test_a_name_that_is_no_hosted_zone_or_several_is_told(
    server: Route53Server, credentials: Path, others: dict[str, tuple[str, bool]] | None, said: str
) -> None:
    server.zones = {**server.zones, **others} if others else {"Z9": ("example.net.", False)}
    with pytest.raises(DnsError, match=said):
        client(server, credentials, zone_id=None).read(DOMAIN, DOMAIN)


@pytest.mark.parametrize(
    ("zone", "private", "said"), [("example.net.", False, "is example.net, not"), (f"{DOMAIN}.", True, "private")]
)
def test_a_hosted_zone_that_is_not_the_domains_is_never_written_to(
    server: Route53Server, credentials: Path, zone: str, private: bool, said: str
) -> None:
    server.zones[ZONE_ID] = (zone, private)
    for attempt in (lambda made: made.read(DOMAIN, DOMAIN), lambda made: made.apply(change())):
        with pytest.raises(DnsError, match=said):
            attempt(client(server, credentials))
    assert server.writes == 0


def test_a_hosted_zone_that_is_not_there_is_told(server: Route53Server, credentials: Path) -> None:
    with pytest.raises(DnsError, match="NoSuchHostedZone") as caught:
        client(server, credentials, zone_id="Z404").read(DOMAIN, DOMAIN)
    assert not caught.value.transient


def test_a_key_that_may_read_and_not_write_is_a_mistake_in_the_configuration(server: Route53Server, zone: Route53Zone) -> None:
    server.write_faults.append("denied")
    with pytest.raises(DnsError, match="refuses our key") as caught:
        zone.apply(change())
    assert not isinstance(caught.value, OutcomeUnknown)
    assert not caught.value.transient
    assert "configuration error" in caught.value.mend


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[else]\naws_access_key_id = a\n", r"no profile \[nas\]"),
        ("[nas]\nrole_arn = arn:aws:iam::1:role/x\n", "no key of its own"),
        (f"{SECRET_KEY}\n", "no AWS credentials file"),
    ],
)
def test_a_credentials_file_without_a_key_is_told_without_its_content(
    zone: Route53Zone, credentials: Path, text: str, said: str
) -> None:
    credentials.write_text(text)
    with pytest.raises(SecretError, match=said) as caught:
        zone.read(DOMAIN, DOMAIN)
    assert SECRET_KEY not in str(caught.value)
    credentials.chmod(0o644)
    with pytest.raises(SecretError, match="readable by others"):
        zone.read(DOMAIN, DOMAIN)


@pytest.mark.parametrize("fault", ["html", "html-403", "garbage", "500", "hang-before", "cut"])
def test_a_change_that_was_taken_is_no_fault_whatever_is_said_of_its_way_to_all_servers(
    fault: str, server: Route53Server, zone: Route53Zone
) -> None:
    server.look_faults.append(fault)
    zone.apply(change())
    assert (server.writes, zone.read(DOMAIN, DOMAIN)) == (1, OUTAGE)


@pytest.mark.parametrize(
    "lines",
    [
        "aws_access_key_id = {key}\naws_secret_access_key = {secret}\naws_session_token = FIRSTHALF\n  SECONDHALF",
        "aws_access_key_id = {key}\n  aws_session_token = FIRSTHALF\naws_secret_access_key = {secret}",
        "aws_access_key_id = {key}\naws_secret_access_key = {secret} FIRSTHALF",
        "aws_access_key_id = {key}\naws_secret_access_key = {secret}FIRSTHALFü",
    ],
    ids=["a token of two lines", "an indented line", "a space", "no ASCII"],
)
def test_a_key_that_no_header_can_hold_is_refused_by_its_place_and_never_shown(
    lines: str, server: Route53Server, credentials: Path
) -> None:
    credentials.write_text(f"[nas]\n{lines.format(key=KEY_ID, secret=SECRET_KEY)}\n")
    with pytest.raises(SecretError, match="nas") as caught:
        client(server, credentials).read(DOMAIN, DOMAIN)
    assert not any(word in f"{caught.value} {caught.value.mend}" for word in ("HALF", KEY_ID, SECRET_KEY))


def test_whom_tls_trusts_is_not_said_by_the_environment(
    server: Route53Server, credentials: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "somebody-elses.pem"))
    made = client(server, credentials)._api.client()
    assert made._endpoint.http_session._verify is True
