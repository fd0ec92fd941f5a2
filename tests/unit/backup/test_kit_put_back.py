"""The program that a kit prints for S3 and REST servers: it signs as Amazon's own library does, and asks at the right address."""

from __future__ import annotations

import ast
import sys

import pytest

from failsafe.backup.kit_commands import put_back_program
from failsafe.backup.kit_put_back import Place


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("s3:https://s3.example.net/my-mail/nas", "https://s3.example.net/my-mail/nas/"),
        ("s3:s3.eu-central-1.amazonaws.com/mail", "https://s3.eu-central-1.amazonaws.com/mail/"),
        ("s3://s3.example.net/mail/", "https://s3.example.net/mail/"),
        ("s3:http://127.0.0.1:9000/mail/with space", "http://127.0.0.1:9000/mail/with%20space/"),
        ("rest:https://bob:p%40ss@host:8000/mail/", "https://host:8000/mail/"),
        ("rest:http://host:8000", "http://host:8000/"),
    ],
)
def test_where_it_asks(url: str, base: str) -> None:
    assert Place(url).base == base


def test_the_login_of_a_rest_server_is_taken_from_the_address() -> None:
    assert Place("rest:https://bob:p%40ss@host/mail/").login()["Authorization"] == "Basic Ym9iOnBAc3M="


@pytest.mark.parametrize("token", ["", "a session's token"])
@pytest.mark.parametrize(("method", "data"), [("GET", b""), ("PUT", b"key material")])
def test_it_signs_as_amazons_own_library_does(monkeypatch: pytest.MonkeyPatch, method: str, data: bytes, token: str) -> None:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    for name, value in (("ACCESS_KEY_ID", "AKID"), ("SECRET_ACCESS_KEY", "secret/+x"), ("SESSION_TOKEN", token)):
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    place = Place("s3:https://s3.eu-central-1.amazonaws.com/mail/my nas")
    url = place.base + "keys/" + "ab" * 32

    ours = place.sign(method, url, data)

    signed = {name: value for name, value in ours.items() if name.startswith("x-amz-")}
    request = AWSRequest(method, url, data=data, headers=signed)
    request.context["timestamp"] = ours["x-amz-date"]
    theirs = S3SigV4Auth(Credentials("AKID", "secret/+x", token or None), "s3", "eu-central-1")
    text = theirs.string_to_sign(request, theirs.canonical_request(request))
    assert ours["Authorization"].rpartition("=")[2] == theirs.signature(text, request)


def test_the_program_needs_the_standard_library_alone() -> None:
    tree = ast.parse(put_back_program())

    names = {alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module).partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names
