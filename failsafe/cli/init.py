"""`failsafe init`: from nothing to a configuration that stands, or a new machine becomes the controller."""

from __future__ import annotations

from pathlib import Path

import typer

from failsafe.cli.common import JSON_OPTION, verbs_app
from failsafe.errors import UsageError

app = verbs_app()


def _text(flag: str, metavar: str, text: str) -> str | None:
    option: str | None = typer.Option(None, flag, metavar=metavar, help=text)
    return option


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
    if from_kit is not None:
        from failsafe.cli.init_kit import take_over

        take_over(from_kit, passphrase_file, prefix, yes=yes, as_json=as_json)
        return
    if passphrase_file is not None or prefix is not None:
        raise UsageError("--passphrase-file and --prefix go with --from-kit", mend="leave them out, or name the kit")
    from failsafe.cli.init_run import Options, run_init

    where = f"container:{container}" if container else path
    logins = f"file:{accounts_file.absolute()}" if accounts_file else " ".join(mailbox) or None
    flags = {
        "--domain": domain, "--primary": primary, "--ssh": ssh, "--host-key": host_key, "--look-as": look_as, "--layout": layout,
        "--path": where, "--imap": imap, "--mailbox": logins, "--secondary": secondary, "--strategy": strategy, "--homecoming": homecoming,
        "--homecoming-user": homecoming_user, "--dns": dns, "--dns-token-file": dns_token_file, "--dns-zone-id": dns_zone_id,
        "--dns-server": dns_server, "--dns-key-name": dns_key_name, "--dns-key-file": dns_key_file, "--dns-table": dns_table,
        "--state-dir": state_dir, "--repository": repository, "--offsite": offsite, "--probe": probe,
    }  # fmt: skip
    given = {flag: value for flag, value in flags.items() if value is not None}
    run_init(Options(given, server, controller_id, resolver or "", look_key, not no_doctor, yes, as_json))
