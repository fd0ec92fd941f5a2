"""Which files are made beside the configuration, and what each holds. Pure: keys and passwords are handed in, made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from failsafe.setting_up.choice import Choice, DnsChoice, HomecomingChoice
from failsafe.setting_up.text import (
    KEY,
    MASTER_PASSWORD,
    PROBE_PASSWORD,
    REPOSITORY_PASSWORD,
    environment_of,
    environment_text,
    key_of,
    needs_environment,
)


class Kind(Enum):
    PASSWORD = "a password"  # noqa: S105 - a word for people
    SSH_KEY = "an SSH key"
    TSIG = "a TSIG secret"
    EMPTY = "empty, to be filled by you"
    TEXT = "a text"


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A secret file, mode 0600. One that is there is left as it is."""

    path: str
    kind: Kind
    what: str
    text: str = ""


def secret_files(choice: Choice) -> tuple[SecretFile, ...]:
    """In the order in which they are written; the configuration comes after all of them."""
    folder, server = choice.folder, choice.server
    found = [SecretFile(f"{folder}/{REPOSITORY_PASSWORD}", Kind.PASSWORD, "opens the repositories")]
    if server.ssh:
        found.append(SecretFile(f"{folder}/{KEY}", Kind.SSH_KEY, "logs in to the mail server"))
    if server.mailboxes:
        found.append(SecretFile(f"{folder}/{MASTER_PASSWORD}", Kind.PASSWORD, "of the master user"))
    if choice.probe and server.imap is not None:
        found.append(SecretFile(f"{folder}/{PROBE_PASSWORD}", Kind.PASSWORD, f"of the mailbox {choice.probe}"))
    for name, url in (("nas", choice.repository), ("offsite", choice.offsite)):
        if needs_environment(url):
            found.append(
                SecretFile(f"{folder}/{environment_of(name)}", Kind.TEXT, f"the credential of {url}", environment_text(url))
            )
        if url.lower().startswith("sftp:"):
            found.append(SecretFile(f"{folder}/{key_of(name)}", Kind.SSH_KEY, f"logs in to {url}"))
    return (*found, *of_homecoming(choice.domain.homecoming), *of_dns(choice.dns))


def of_homecoming(home: HomecomingChoice | None) -> list[SecretFile]:
    return [] if home is None else [SecretFile(home.password_file, Kind.EMPTY, f"the password of {home.user} at the secondary")]


def of_dns(dns: DnsChoice | None) -> list[SecretFile]:
    if dns is None:
        return []
    if dns.provider == "cloudflare":
        return [SecretFile(dns.token_file, Kind.EMPTY, "the API token of Cloudflare")]
    if dns.provider == "rfc2136":
        return [SecretFile(dns.key_file, Kind.TSIG, f"the secret of the key {dns.key_name}")]
    return [SecretFile(dns.credentials_file, Kind.EMPTY, "the access key of Amazon, as ~/.aws/credentials has it")]
