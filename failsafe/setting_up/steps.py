"""What is left to do after `failsafe init`, numbered, each with its command: from what stands in the configuration and what is there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote

from failsafe.model import Mode, Strategy
from failsafe.secondaries.provider import OWN_SERVER, SecondaryProvider
from failsafe.setting_up.layouts import explain_master, probe_command


@dataclass(frozen=True, slots=True)
class Step:
    """`command` "": nothing is typed here; it is done elsewhere, as `what` says."""

    what: str
    why: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class ServerStanding:
    """`shell`: "root@host" with its port as ssh takes it, "" where the mail lies on this machine."""

    name: str
    layout: str
    container: str = ""
    over_ssh: bool = False
    host: str = ""
    port: int = 22
    shell: str = ""
    key_is_pinned: bool = True
    master_password: str = ""
    known_hosts: str = ""
    look_key: str = ""  # the person's own, where it was named

    @property
    def as_root(self) -> str:
        """What stands before a command that is run there as root."""
        if not self.shell:
            return ""
        return f"ssh {f'-p {self.port} ' if self.port != 22 else ''}{self.shell} "


@dataclass(frozen=True, slots=True)
class DomainStanding:
    domain: str
    mode: Mode
    strategy: Strategy
    provider: SecondaryProvider | None
    secondary: tuple[str, ...]
    fits: bool | None  # the records are the strategy's peace layout; None: not known
    has_dns: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """`empty`: secret files that wait to be filled, (path, what for). `probe`: (address, password file), of the first server."""

    config: str
    named: bool  # its place is not one that is found by itself: commands need --config
    servers: tuple[ServerStanding, ...]
    domains: tuple[DomainStanding, ...]
    password_file: str = ""
    empty: tuple[tuple[str, str], ...] = ()
    new_keys: tuple[tuple[str, str, str], ...] = ()  # (name, server, file) of TSIG keys
    far_keys: tuple[tuple[str, str], ...] = ()  # (repository, key file) of repositories over SSH
    probe: tuple[str, str] | None = None
    repositories: int = 1
    has_vantage: bool = False
    has_notices: bool = False

    @property
    def failsafe(self) -> str:
        return f"failsafe --config {quote(self.config)}" if self.named else "failsafe"


def steps_left(standing: Standing) -> tuple[Step, ...]:
    """In the order in which they are best done; the last one leads from `observe` to `auto`."""
    return tuple(_steps(standing))


def _steps(here: Standing) -> Iterator[Step]:
    run = here.failsafe
    if here.password_file:
        yield Step(
            "Copy this password to a place outside of this machine (a password manager, paper)",
            "without it no backup can be opened, by nobody",
            f"cat {quote(here.password_file)}",
        )
    for path, what in here.empty:
        yield Step(f"Put into {path}: {what}", "it is empty; end with Ctrl-D", f"(umask 077; cat > {quote(path)})")
    for server in here.servers:
        yield from _of_server(here, server)
    for name, key_file in here.far_keys:
        yield Step(
            f"Put this public key where repository {name} lies, into ~/.ssh/authorized_keys there, and pin its host key (docs/repositories.md)",
            "restic logs in with it",
            f"cat {quote(f'{key_file}.pub')}",
        )
    for key, address, file in here.new_keys:
        yield Step(
            f"Give the name server {address} the TSIG key {key} with the secret in this file, and let it change the MX records and nothing else "
            "(docs/failover.md)",
            "a failover is an update that is signed with it",
            f"cat {quote(file)}",
        )
    yield from _of_secondaries(here)
    over_ssh = any(server.over_ssh for server in here.servers)
    yield Step(
        "Check the configuration" + (", and that the server lets this machine in" if over_ssh else ""),
        "every fault is told at once",
        f"{run} config check" + (" --connect" if over_ssh else ""),
    )
    yield Step(
        "Make the first backup",
        "the first one takes as long as the line needs for all your mail; it may be interrupted and goes on",
        f"{run} backup",
    )
    yield Step(
        "Make the recovery kit, and carry the file out of the house", "it brings all mail back without this machine", f"{run} kit"
    )
    yield from _of_this_machine(here)
    yield Step(
        "Ask the doctor",
        "it looks at everything a backup and a failover rely on, and says how each thing that is missing is mended",
        f"{run} doctor",
    )
    yield from _of_records(here)


def _of_server(here: Standing, server: ServerStanding) -> Iterator[Step]:
    if server.over_ssh and not server.key_is_pinned:
        port = f"-p {server.port} " if server.port != 22 else ""
        file = quote(server.known_hosts)
        yield Step(
            f"Pin the host key of {server.host}, and compare it with the server's own console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)",
            "it could not be fetched while this was set up; without it nothing logs in",
            f"ssh-keyscan {port}-t ed25519 {server.host} >> {file} && ssh-keygen -lf {file}",
        )
    if server.over_ssh:
        look = (
            ""
            if server.layout == "maildir"
            else f" --look-as {server.shell.partition('@')[0]}{server.look_key and f' --look-key {quote(server.look_key)}'}"
        )
        sudo = "" if server.shell.startswith("root@") else "sudo "
        yield Step(
            f"Install the server's side on {server.host}: look at what it does (docs/server-side.md), then let root run it there",
            "the key of this machine may then read mail there, and do nothing else",
            f"{here.failsafe} config server {server.name}{look} | {server.as_root}{sudo}sh",
        )
    if server.master_password:
        yield Step(
            f"Make the master user with the password in this file. {explain_master(server.layout)[1]}",
            "mail is read with this login",
            f"cat {quote(server.master_password)}",
        )
    if here.probe is not None and server is here.servers[0]:
        what, command = probe_command(server.layout, server.container, server.as_root, *here.probe)
        yield Step(f"{what[0].upper()}{what[1:]}", "the server is watched with it, as a sender and as a reader", command)


def _of_secondaries(here: Standing) -> Iterator[Step]:
    for domain in here.domains:
        provider = domain.provider
        if provider is None or provider.key == OWN_SERVER:
            where, more = f"on {', '.join(domain.secondary)}", ""
        else:
            where, verification = f"at {provider.name}", provider.verification.value
            more = (
                f", and publish the TXT record that it asks for ({verification.place(domain.domain)}, {verification.prefix}…)"
                if verification is not None and verification.is_needed
                else ""
            )
        yield Step(
            f"Add {domain.domain} {where}, with every address that people write to, or a catch-all{more}; leave the MX records as they are",
            "mail goes there while your server is down; docs/secondaries.md says what is known of it",
        )


def _of_this_machine(here: Standing) -> Iterator[Step]:
    if here.repositories < 2:
        yield Step(
            "Add a second repository away from home: take the # away before [repository.offsite]",
            "fire, water and thieves take every disk of a house",
            f"${{EDITOR:-vi}} {quote(here.config)}",
        )
    if not here.has_notices:
        yield Step(
            "Say where notices go: an Apprise URL into notify.urls beside the configuration, then take the # away before urls_file",
            "a backup that fails silently is none",
            f"${{EDITOR:-vi}} {quote(here.config)}; {here.failsafe} notify --test",
        )
    yield Step(
        "Start the daemon: deploy/systemd has its unit, deploy/cron a line for machines without systemd",
        "it backs up, watches and tells by itself",
        "systemctl enable --now failsafe" if not here.named else f"{here.failsafe} run",
    )


def _of_records(here: Standing) -> Iterator[Step]:
    run = here.failsafe
    for domain in here.domains:
        if domain.fits is False:
            yield Step(
                f"See which MX records the strategy {domain.strategy} needs in peace, then write them (without --dry-run)",
                "the records of now do not fit it",
                f"{run} adopt-mx {domain.domain} --dry-run",
            )
    watched = [domain for domain in here.domains if domain.mode is not Mode.AUTO]
    if watched and not here.has_vantage:
        yield Step(
            "Add a second place to look from (docs/vantages.md): take the # away before [vantage.vps2]",
            "with one alone nothing is ever moved by itself: this line fails more often than your server",
            f"${{EDITOR:-vi}} {quote(here.config)}",
        )
    for domain in watched:
        yield Step(
            f"When `{run} doctor --domain {domain.domain}` says ready for a failover and you have come to trust what it would have done "
            f'(`{run} events`), let it act: mode = "auto"',
            'until then it observes, and writes nothing; "manual" prepares and lets you say so each time',
            auto_command(here.config, domain.domain) + f" && {run} config check",
        )


def auto_command(config: str, domain: str) -> str:
    """Changes one line of one table, and keeps the old file as .old."""
    escaped = domain.replace(".", r"\.")
    script = f'/^\\[domain\\."{escaped}"\\]/,/^\\[/ s/^mode = "observe"/mode = "auto"/'
    return f"sed -i.old {quote(script)} {quote(config)}"


def render_steps(steps: Sequence[Step]) -> list[str]:
    lines = []
    for number, step in enumerate(steps, start=1):
        lines.append(f"{number:2d}. {step.what}")
        lines.append(f"    Why: {step.why}.")
        if step.command:
            lines.append(f"    {step.command}")
    return lines
