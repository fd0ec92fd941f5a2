"""One profile of an AWS credentials file, read by ourselves: neither the environment nor another file can put a different identity in its place."""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from pathlib import Path

from failsafe.errors import SecretError
from failsafe.secrets import Secret, read_secret

DEFAULT_PROFILE = "default"
HOW_TO_WRITE = "write [PROFILE] with the lines aws_access_key_id = … and aws_secret_access_key = …, then: chmod 600 the file"


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Who we are at Amazon. `session_token` only with temporary credentials."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None


def read_profile(file: Path, profile: str | None = None) -> AwsCredentials:
    """The keys of one profile. Raises SecretError; no message holds a value of the file."""
    name, source = profile or DEFAULT_PROFILE, read_secret(file, strip=False)
    parser = configparser.RawConfigParser(strict=True, default_section="")
    try:
        parser.read_string(source.reveal())
    except configparser.Error as error:
        kind = type(error).__name__  # its text quotes the line, which may be a key
        raise SecretError(f"{source.source} is no AWS credentials file ({kind})", mend=HOW_TO_WRITE) from None
    if not parser.has_section(name):
        raise SecretError(f"{source.source} has no profile [{name}]", mend=HOW_TO_WRITE)
    table = parser[name]
    key, secret, token = (
        table.get(each, "").strip() for each in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    )
    if not key or not secret:
        raise SecretError(
            f"{source.source} [{name}] holds no key of its own (roles, SSO and credential_process are not used here)",
            mend=HOW_TO_WRITE,
        )
    for line, value in (("aws_access_key_id", key), ("aws_secret_access_key", secret), ("aws_session_token", token)):
        if not all("!" <= letter <= "~" for letter in value):  # a library below would refuse it in an HTTP header, and quote it
            raise SecretError(
                f"{source.source} [{name}]: {line} holds a blank, a line break or a letter that is not ASCII (an indented line belongs to the one before it)",
                mend=HOW_TO_WRITE,
            )
    where = f"{source.source}:{name}"
    return AwsCredentials(key, Secret(secret, where), Secret(token, where) if token else None)
