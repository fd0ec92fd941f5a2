"""The configuration as text, with its comments. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from failsafe.setting_up.choice import Choice, DnsChoice, DomainChoice, ServerChoice
from failsafe.setting_up.layouts import master_name
from failsafe.setting_up.sight import shown_size

KEEP = '{ within = "7d", daily = 30, weekly = 12, monthly = 24 }'
ENVIRONMENT = "environment_file"
KEY, KNOWN_HOSTS, REPOSITORY_PASSWORD = "id_ed25519", "known_hosts", "repository.password"
PROBE_PASSWORD, MASTER_PASSWORD, OFFSITE_ENVIRONMENT, SECONDARY_PASSWORD = (
    "probe.password",
    "master.password",
    "offsite.env",
    "secondary.password",
)


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)


def listed(names: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, names))}]"


def configuration(choice: Choice) -> str:
    """The whole file."""
    parts = [
        _head(choice),
        _server(choice),
        *_repositories(choice),
        dns_table(choice.dns) if choice.dns else _dns_later(choice),
        domain_table(choice.domain),
        _probe(choice),
        _rest(choice),
    ]
    return "\n".join(parts)


def _head(choice: Choice) -> str:
    zone = (
        f"time_zone = {quoted(choice.time_zone)}\n"
        if choice.time_zone
        else '# time_zone = "Europe/Warsaw"       # left out: the system\'s\n'
    )
    return f"""# failsafe: written by `failsafe init`; from here on it is yours, and failsafe never writes into it again but to add a domain that you ask for.
# Every key is explained in docs/reference/configuration.md and by `failsafe config schema`; `failsafe config check` tells every fault at once.

[controller]
id = {quoted(choice.controller)}
# Database, staging (every message once, readable), caches, locks: a local disk, open to nobody else, best on an encrypted volume.
state_dir = {quoted(choice.state_dir)}
{zone}# limit_download = "2 MB/s"            # left out: no limit
# erase_after = "90d"                  # deleted messages leave staging, and with it new snapshots, within this time

[web]
listen = "127.0.0.1:8025"              # the dashboard; it never writes
"""


# -- the mail server -----------------------------------------------------------------------------------------------------


def _server(choice: Choice) -> str:
    server, folder = choice.server, choice.folder
    lines = [f"[mail_server.{server.name}]", f"layout = {quoted(server.layout)}"]
    if server.path:
        lines.append(f"path = {quoted(server.path)}")
    if server.container:
        lines.append(
            f"container = {quoted(server.container)}            # its mounts are looked at, for which the login must be allowed to ask the engine"
        )
    if server.layout == "mailcow" and not server.path:
        lines.append('# path = "/opt/mailcow-dockerized"     # where it lies elsewhere')
    if server.ssh:
        lines += [
            f"ssh = {quoted(server.ssh)}   # its key can read mail and nothing else: `failsafe config server {server.name}`",
            f"ssh_key = {quoted(f'{folder}/{KEY}')}",
            f"known_hosts = {quoted(f'{folder}/{KNOWN_HOSTS}')}",
        ]
    elif server.layout != "imap":
        lines.append("# ssh is left out: the mail lies on this machine")
    lines.append('backup_every = "15m"')
    lines += _mailboxes(server)
    if server.layout == "maildir":
        lines.append(
            '# extra_paths = ["/etc/postfix", "/etc/dovecot"]   # what you would miss besides mail: accounts, aliases, keys, certificates'
        )
    lines.append('# exclude_folders = ["Trash"]')
    lines += _imap(server, folder)
    lines.append(
        '# network = "hetzner"                  # where it stands; a [vantage.…] with the same name may say down, never up'
    )
    return "\n".join(lines) + "\n"


def _mailboxes(server: ServerChoice) -> list[str]:
    if server.accounts_file:
        return [f"accounts_file = {quoted(server.accounts_file)}     # lines MAILBOX:PASSWORD_FILE"]
    return [f"mailboxes = {listed(server.mailboxes)}"] if server.mailboxes else []


def _imap(server: ServerChoice, folder: str) -> list[str]:
    if server.imap is None:
        return ['# imap = { host = "mail.example.org", port = 993 }   # where restores go']
    host, port = server.imap
    place = f"host = {quoted(host)}, port = {port}"
    if server.mailboxes:
        master = f"master_user = {quoted(master_name(server.layout))}, password_file = {quoted(f'{folder}/{MASTER_PASSWORD}')}"
        return [
            f"imap = {{ {place}, {master} }}",
            '# separator = "%" within imap, for Stalwart: what stands between mailbox and master user',
        ]
    why = "from here mail is read" if server.layout == "imap" else "where restores go; they ask for the login each time"
    return [f"imap = {{ {place} }}   # {why}"]


# -- repositories --------------------------------------------------------------------------------------------------------


def _repositories(choice: Choice) -> list[str]:
    size = choice.server.size
    note = f"# {shown_size(size.bytes)} of mail lay on the server when this was written.\n" if size is not None else ""
    tables = [_repository("nas", choice.repository, choice.folder, note)]
    if choice.offsite:
        return [
            *tables,
            _repository(
                "offsite",
                choice.offsite,
                choice.folder,
                "# Away from home. docs/repositories.md: a credential that cannot delete.\n",
            ),
        ]
    return [
        *tables,
        f"""# A second repository away from home, for the day the house burns (docs/repositories.md):
# [repository.offsite]
# url = "s3:https://s3.example.net/my-mail"      # or sftp:user@host:/path, rest:https://host/, another folder
# password_file = {quoted(f"{choice.folder}/{REPOSITORY_PASSWORD}")}
# environment_file = {quoted(f"{choice.folder}/{OFFSITE_ENVIRONMENT}")}   # AWS_ACCESS_KEY_ID=… and AWS_SECRET_ACCESS_KEY=…, mode 0600
# every = "6h"
""",
    ]


def _repository(name: str, url: str, folder: str, note: str) -> str:
    lines = [f"[repository.{name}]", f"url = {quoted(url)}"]
    lines.append(
        f"password_file = {quoted(f'{folder}/{REPOSITORY_PASSWORD}')}   # keep a copy elsewhere: without it, no backup opens"
    )
    if needs_environment(url):
        lines.append(f"environment_file = {quoted(f'{folder}/{environment_of(name)}')}")
    if url.lower().startswith("sftp:"):
        lines += [f"ssh_key = {quoted(f'{folder}/{key_of(name)}')}", f"known_hosts = {quoted(f'{folder}/{KNOWN_HOSTS}')}"]
    lines.append(f"keep = {KEEP}   # left out, nothing is ever forgotten; docs/retention.md")
    lines.append('check = { every = "7d", share = "1/12" }   # each week a twelfth of the data is read')
    lines.append('drill_every = "7d"                     # mail is brought back, opened and compared; docs/drills.md')
    if is_far(url):
        lines.append('every = "6h"')
    return note + "\n".join(lines) + "\n"


def is_far(url: str) -> bool:
    return re.match(r"(?i)^(sftp|s3|rest|rclone|b2|azure|gs|swift):", url) is not None


def needs_environment(url: str) -> bool:
    """Whether this kind of place takes its credential from variables."""
    return re.match(r"(?i)^(s3|rest|b2|azure|gs|swift):", url) is not None


def environment_of(repository: str) -> str:
    return OFFSITE_ENVIRONMENT if repository == "offsite" else f"{repository}.env"


def key_of(repository: str) -> str:
    return f"repository.{repository}.ed25519"


def environment_text(url: str) -> str:
    """What the file that holds a credential begins as."""
    kind = url.partition(":")[0].lower()
    names = {
        "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        "rest": ("RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"),
        "b2": ("B2_ACCOUNT_ID", "B2_ACCOUNT_KEY"),
        "azure": ("AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY"),
        "gs": ("GOOGLE_PROJECT_ID", "GOOGLE_APPLICATION_CREDENTIALS"),
    }.get(kind, ("ST_USER", "ST_KEY"))
    return f"# The credential of {url}\n" + "".join(f"# {name}=\n" for name in names)


# -- DNS and domains -----------------------------------------------------------------------------------------------------


def dns_table(dns: DnsChoice) -> str:
    lines = [f"[dns.{dns.name}]", f"provider = {quoted(dns.provider)}"]
    if dns.provider == "cloudflare":
        lines += [
            f"token_file = {quoted(dns.token_file)}   # may edit the DNS of this one zone",
            f"zone_id = {quoted(dns.zone_id)}",
        ]
    elif dns.provider == "rfc2136":
        lines += [f"server = {quoted(dns.server)}", f"key_name = {quoted(dns.key_name)}", f"key_file = {quoted(dns.key_file)}"]
    else:
        lines += [
            f"credentials_file = {quoted(dns.credentials_file)}   # as ~/.aws/credentials",
            '# hosted_zone_id = "Z0123456789"        # left out: found by the zone\'s name',
        ]
    return "\n".join(lines) + "\n"


def _dns_later(choice: Choice) -> str:
    example = DnsChoice(
        "cloudflare", "cloudflare", token_file=f"{choice.folder}/cloudflare.token", zone_id="0123456789abcdef0123456789abcdef"
    )
    lines = dns_table(example).splitlines()
    head = "# To let failsafe change the MX records itself (cloudflare, route53 or rfc2136: docs/failover.md), and then `dns` in the domain:"
    return "\n".join([head, *(f"# {line}" for line in lines)]) + "\n"


def domain_table(domain: DomainChoice) -> str:
    """One domain; in comments where there is no secondary yet."""
    secondary = domain.secondary or ("in1-smtp.example.net", "in2-smtp.example.net")
    lines = [f"[domain.{quoted(domain.domain)}]"]
    lines.append(
        f"dns = {quoted(domain.dns)}"
        if domain.dns
        else '# dns = "cloudflare"                   # left out: notices tell you what to change, and failsafe sees when it was done'
    )
    lines += [
        f"server = {quoted(domain.server)}",
        f"primary = {listed(domain.primary)}",
        f"secondary = {listed(secondary)}" + (f"   # {domain.secondary_name}" if domain.secondary_name else ""),
        *([f"# {domain.why[0].upper()}{domain.why[1:]}."] if domain.why else []),
        f"strategy = {quoted(domain.strategy.value)}",
        'mode = "observe"                       # tells what it would have done and writes nothing; then "manual" or "auto"',
        "quorum = 2                             # so many places must see your server down; a second one: docs/vantages.md",
        'down_for = "15m"',
        'up_for = "30m"',
    ]
    lines += _homecoming(domain)
    if domain.secondary:
        return "\n".join(lines) + "\n"
    head = f"# {domain.domain} is backed up and watched. For a second place for its mail: make an account there, and take the # away.\n"
    return head + "\n".join(line if line.startswith("#") else f"# {line}" for line in lines) + "\n"


def _homecoming(domain: DomainChoice) -> list[str]:
    name, home = quoted(domain.domain), domain.homecoming
    deliver = '# deliver = { host = "mail.example.org", port = 993, master_user = "failsafe", password_file = "/etc/failsafe/master.password" }'
    if home is None:
        return [
            f"# [domain.{name}.homecoming]      # brings home what landed at the secondary: docs/homecoming.md",
            '# host = "imap.example.net"',
            "# port = 993",
            '# catch_all = { user = "you@example.net", password_file = "/etc/failsafe/secondary.password" }',
            deliver,
        ]
    return [
        "",
        f"[domain.{name}.homecoming]             # brings home what lands at the secondary: docs/homecoming.md",
        f"host = {quoted(home.host)}",
        f"port = {home.port}",
        f"catch_all = {{ user = {quoted(home.user)}, password_file = {quoted(home.password_file)} }}",
        deliver,
    ]


# -- watching ------------------------------------------------------------------------------------------------------------


def _probe(choice: Choice) -> str:
    domain, server, folder = choice.domain, choice.server, choice.folder
    smtp = [f"{name}:25" for name in domain.primary]
    lines = [
        f"[probe.{server.name}]                   # how the server is watched: docs/probes.md",
        'every = "1m"',
        f"smtp = {listed(smtp)}",
        f"recipient = {quoted(choice.probe or f'failsafe-probe@{domain.domain}')}",
    ]
    lines.append(f"# helo = {quoted(f'nas.{domain.domain}')}        # this machine's name for the outside, where it has one")
    if server.imap is not None:
        host, port = server.imap
        login = f"user = {quoted(choice.probe or f'failsafe-probe@{domain.domain}')}, password_file = {quoted(f'{folder}/{PROBE_PASSWORD}')}"
        lines.append(f"imap = {{ host = {quoted(host)}, port = {port}, {login} }}")
        lines.append(
            f"# submission = [{{ host = {quoted(host)}, port = 465 }}, {{ host = {quoted(host)}, port = 587 }}]   # with the login of imap"
        )
    if not choice.probe:
        lines = [line if line.startswith("#") else f"# {line}" for line in lines]
    return "\n".join(lines) + "\n"


def _rest(choice: Choice) -> str:
    folder = choice.folder
    resolver = (
        f"[doctor]\nresolver = {quoted(choice.resolver)}\n"
        if choice.resolver
        else '# [doctor]\n# resolver = "127.0.0.1:5335"          # a recursive one of your own: block lists refuse public ones\n'
    )
    return f"""# Another place to look from: with quorum = 2 a failover happens by itself only where a second one says down too (docs/vantages.md).
# [vantage.vps2]
# kind = "ssh"                         # another machine with sshd and Python 3; or "uptimerobot", "http"
# ssh = "probe@vps2.example.net"
# ssh_key = {quoted(f"{folder}/vps2_ed25519")}
# known_hosts = {quoted(f"{folder}/{KNOWN_HOSTS}")}

# A message through a third party, every quarter of an hour: does mail that is accepted arrive? docs/watching.md
# [canary.{choice.server.name}]
# smtp = "smtp.other.example:587"
# user = "me@other.example"
# password_file = {quoted(f"{folder}/canary.password")}
# from = "me@other.example"
# to = {quoted(choice.probe or f"failsafe-probe@{choice.domain.domain}")}

{resolver}
[notify]
# urls_file = {quoted(f"{folder}/notify.urls")}      # Apprise URLs, one a line, mode 0600; then `failsafe notify --test`
# digest_at = "07:30"                  # one notice a day, also when all is well
# heartbeat_url_file = {quoted(f"{folder}/heartbeat.url")}   # called as long as failsafe lives
"""
