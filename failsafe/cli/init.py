"""`failsafe init`: from nothing to a configuration that stands, or a new machine becomes the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from failsafe.cli.common import JSON_OPTION, verbs_app
from failsafe.errors import UsageError

app = verbs_app()


def _text(flag: str, metavar: str, text: str) -> str | None:
    option: str | None = typer.Option(None, flag, metavar=metavar, help=text)
    return option


_ANSWERS = (  # options that answer a question each, by the flag's own name; --path and --mailbox have a second form
    "domain", "primary", "ssh", "host_key", "look_as", "layout", "imap", "secondary", "strategy", "homecoming", "homecoming_user", "dns",
    "dns_token_file", "dns_zone_id", "dns_server", "dns_key_name", "dns_key_file", "dns_table", "state_dir", "repository", "offsite", "probe",
)  # fmt: skip


@app.command()
def init(
    domain: str | None = _text("--domain", "D", "The mail's domain; where a configuration is there already: adds this domain to it."),
    server: str = typer.Option("mail", "--server", metavar="NAME", help="What the mail server is called in the configuration."),
    primary: str | None = _text("--primary", "HOST[,HOST]", "Your own server's names in the MX records (default: as they are)."),
    ssh: str | None = _text("--ssh", "USER@HOST[:PORT]", "The login of every night; local: the mail lies on this machine; none: IMAP alone."),
    host_key: str | None = _text("--host-key", "SHA256:…", "The server's host key, as its own console shows it. Never taken unasked."),
    look_as: str | None = _text("--look-as", "USER@HOST", "Who may look at the server once, now, with your own SSH keys; none: do not look."),
    look_key: Path | None = typer.Option(None, "--look-key", metavar="FILE", help="The SSH key for that look (default: agent, ~/.ssh)."),
    layout: str | None = _text("--layout", "L", "docker-mailserver, mailcow, mailu, maildir or imap (default: what is found)."),
    path: str | None = _text("--path", "DIR", "Where the mail lies on the server (default: what is found)."),
    container: str | None = _text("--container", "NAME", "The container whose mounts are looked at, instead of --path."),
    imap: str | None = _text("--imap", "HOST:PORT", "The server's IMAP, where restores go; none: leave it out."),
    mailbox: list[str] = typer.Option([], "--mailbox", metavar="M", help="Layout imap: a mailbox, opened by a master user. Repeat it."),
    accounts_file: Path | None = typer.Option(None, "--accounts-file", metavar="FILE", help="Layout imap: lines MAILBOX:PASSWORD_FILE instead."),
    secondary: str | None = _text("--secondary", "NAME", "proton, fastmail, migadu, …, HOST[,HOST], or none: backups only."),
    strategy: str | None = _text("--strategy", "S", "on-demand, swap or replace (default: what the secondary calls for)."),
    homecoming: str | None = _text("--homecoming", "HOST:PORT", "Strategy swap: where mail is fetched from the secondary."),
    homecoming_user: str | None = _text("--homecoming-user", "USER", "Strategy swap: the login there."),
    dns: str | None = _text("--dns", "PROVIDER", "cloudflare, route53, rfc2136 or none (default: by the name servers)."),
    dns_token_file: str | None = _text("--dns-token-file", "FILE", "Cloudflare: the file with the API token; made empty where it is not there."),
    dns_zone_id: str | None = _text("--dns-zone-id", "ID", "Cloudflare: the zone (default: asked with the token)."),
    dns_server: str | None = _text("--dns-server", "HOST:PORT", "rfc2136: the name server that takes updates."),
    dns_key_name: str | None = _text("--dns-key-name", "NAME", "rfc2136: the name of the TSIG key."),
    dns_key_file: str | None = _text("--dns-key-file", "FILE", "rfc2136: its secret; made where it is not there."),
    dns_table: str | None = _text("--dns-table", "y|n", "With one more domain: whether the [dns.…] table that is there holds its zone too."),
    state_dir: str | None = _text("--state-dir", "DIR", "Database and staging: a local disk, best encrypted."),
    repository: str | None = _text("--repository", "URL", "The first repository: a folder, or a restic URL."),
    offsite: str | None = _text("--offsite", "URL", "A second repository elsewhere; none: later."),
    probe: str | None = _text("--probe", "ADDRESS", "The mailbox that watches the server (default: failsafe-probe@DOMAIN); none: not watched."),
    controller_id: str | None = _text("--controller-id", "NAME", "What this machine is called (default: its host name)."),
    resolver: str | None = _text("--resolver", "HOST:PORT", "Ask this resolver instead of the system's, now and in the doctor."),
    no_doctor: bool = typer.Option(False, "--no-doctor", help="Do not ask the doctor at the end."),
    from_kit: Path | None = typer.Option(None, "--from-kit", metavar="FILE", help="A recovery kit: this machine becomes the controller that was lost."),
    passphrase_file: Path | None = typer.Option(None, "--passphrase-file", metavar="FILE", help="With --from-kit: mode 0600 (default: asked for)."),
    prefix: Path | None = typer.Option(None, "--prefix", metavar="DIR", help="With --from-kit: put everything below this folder."),
    yes: bool = typer.Option(False, "--yes", help="Take what was found wherever no flag says otherwise (but never a host key), and ask nothing."),
    as_json: bool = JSON_OPTION,
) -> None:  # fmt: skip
    """Sets failsafe up: asks a few questions, looks the rest up, writes the configuration, keys and passwords, and says what is left to do.

    Nothing that is there is changed: run again, it says what stands and what is missing. With --domain it adds a domain to a configuration
    that is there. Flags answer questions; with a flag for each, or --yes, nobody is asked.

    With --from-kit this machine becomes the controller that was lost, from a recovery kit and the repositories (exit 3: a file or a repository
    stands in the way; exit 4: something could not be reached; the rest is done).

    Examples: failsafe init
              failsafe init --domain example.org --host-key SHA256:… --layout maildir --path /var/vmail --secondary fastmail --yes
              failsafe init --domain example.net
              failsafe init --from-kit /media/stick/failsafe-kit-nas-2026-11-22.html
    """
    _set_up(locals())


def _set_up(given: dict[str, Any]) -> None:
    """`given`: every option by its name."""
    if given["from_kit"] is not None:
        from failsafe.cli.init_kit import take_over

        take_over(given["from_kit"], given["passphrase_file"], given["prefix"], yes=given["yes"], as_json=given["as_json"])
        return
    if given["passphrase_file"] is not None or given["prefix"] is not None:
        raise UsageError("--passphrase-file and --prefix go with --from-kit", mend="leave them out, or name the kit")
    from failsafe.cli.init_run import Options, run_init

    accounts_file, mailboxes = given["accounts_file"], given["mailbox"]
    flags = {f"--{name.replace('_', '-')}": given[name] for name in _ANSWERS}
    flags["--path"] = f"container:{given['container']}" if given["container"] else given["path"]
    flags["--mailbox"] = f"file:{accounts_file.absolute()}" if accounts_file else " ".join(mailboxes) or None
    answers = {flag: value for flag, value in flags.items() if value is not None}
    run_init(
        Options(
            answers,
            given["server"],
            given["controller_id"],
            given["resolver"] or "",
            given["look_key"],
            not given["no_doctor"],
            given["yes"],
            given["as_json"],
        )
    )
