"""What each key of the configuration is for, in a line: for `failsafe config schema` and the reference page, which a test keeps whole."""

from __future__ import annotations

from typing import Any

# Of any table that has such a key and does not say otherwise below.
EVERYWHERE = {
    "host": "name or address of the server",
    "port": "its port",
    "tls": 'left out: by the port (993 and 465 begin with TLS, others use STARTTLS); "none" on loopback alone',
    "ca_file": "certificates that are trusted beside the system's",
    "certificate_sha256": "pins a certificate that nobody signed, by its fingerprint",
    "password_file": "a file with the password alone, mode 0600; read at every use",
    "user": "the login",
    "ssh": "USER@HOST[:PORT]",
    "ssh_key": "private key; left out: as ssh does by hand",
    "known_hosts": "known host keys; an unknown one is refused",
    "network": "where it stands; two places with the same name are one network",
    "master_user": "a login that may open every mailbox, as MAILBOX SEPARATOR MASTER_USER",
    "separator": "what stands between the mailbox and the master user",
    "accounts_file": "a login for each mailbox: lines USER:PASSWORD_FILE",
    "limit_upload": "bytes a second out; left out: no limit",
    "limit_download": "bytes a second in; left out: no limit",
}
TABLES: dict[str, dict[str, str]] = {
    "Controller": {
        "id": "name of this controller in notices and evidence; left out: the host's",
        "state_dir": "database, staging, caches and locks; a local disk",
        "database": '"sqlite", below state_dir, or "postgresql+psycopg://user@host/failsafe"',
        "database_password_file": "PostgreSQL's password",
        "time_zone": "of notices and windows, such as Europe/Warsaw; left out: the system's",
        "erase_after": "what was deleted on the server leaves staging, and with it new snapshots, within this time",
        "public_resolvers": "asked after a flip how far the change has come; [] asks none",
    },
    "Web": {
        "listen": "where the dashboard listens; on another address than loopback it wants a password",
        "password_file": "a password for the dashboard",
        "certificate_file": "its certificate chain, for HTTPS",
        "key_file": "and the private key",
        "behind_proxy": "a proxy in front speaks TLS",
    },
    "MailServer": {
        "layout": "how mail lies there (docs/layouts.md, docs/imap.md)",
        "path": "where it lies; containers are found by themselves",
        "container": "the container that tells where its volumes are",
        "ssh": "USER@HOST[:PORT]; left out: the mail lies on this machine",
        "backup_every": "how often it is pulled",
        "exclude_folders": "folders that are not archived",
        "extra_paths": "files and folders to archive beside the mail",
        "commands": "NAME = COMMAND: programs whose output is archived, such as a dump of a database",
        "imap": "where restores go and, with layout imap, where mail is read",
        "mailboxes": "with a master user: which mailboxes there are",
        "read": '"doveadm": compressed or encrypted mail is read through Dovecot, plain and searchable',
    },
    "RepositoryTable": {
        "url": "as restic writes it: a folder, sftp:, s3:, rest: (docs/repositories.md)",
        "password_file": "the repository's password; without it nothing opens",
        "environment_file": "lines NAME=VALUE for restic: the credential for adding",
        "ssh_key": "for sftp: private key; left out: as ssh does by hand",
        "maintenance": '"elsewhere": forgetting and pruning are done on another machine',
        "maintenance_environment_file": "the credential for forgetting and pruning, where it is another one",
        "restore_environment_file": "the credential for restores, drills and the recovery kit; reading is enough",
        "keep": "which snapshots stay; left out: all",
        "every": "a snapshot at most this often; left out: after every pull",
        "check": "how often it is checked, and how much of the data is read",
        "drill_every": "how often mail is brought back from it for a drill",
        "window": "only then: snapshots, checks, forgetting, pruning",
    },
    "Keep": {
        "within": "all that are younger than this",
        "last": "so many of the newest",
        "hourly": "the newest of each of so many hours",
        "daily": "of days",
        "weekly": "of weeks",
        "monthly": "of months",
        "yearly": "of years",
    },
    "CheckPlan": {"every": "how often", "share": "of the data that is read each time"},
    "Dns": {
        "provider": "who hosts the zone",
        "token_file": "Cloudflare: a token with DNS: Edit on the zone",
        "zone_id": "Cloudflare: the zone's id",
        "base_url": "another address of the API",
        "server": "RFC 2136: the server that takes updates",
        "key_name": "RFC 2136: the TSIG key's name",
        "key_algorithm": "RFC 2136: its algorithm",
        "key_file": "RFC 2136: a file with the secret in base64",
        "hosted_zone_id": "Route 53: the zone's id; left out: found by its name",
        "credentials_file": "Route 53: left out: ~/.aws/credentials",
        "profile": "Route 53: the profile in it",
    },
    "Domain": {
        "server": "which [mail_server.NAME] is its primary",
        "primary": "exchanges of the primary",
        "secondary": "exchanges of the secondary",
        "strategy": "what an outage does to the records (docs/failover.md)",
        "dns": "which [dns.NAME] holds the zone; left out: you change the records, failsafe says how",
        "zone": "the zone, where it is not the domain itself",
        "ttl": "of the MX records; left out: as found",
        "mode": '"observe" tells what it would do, "manual" prepares, "auto" acts',
        "quorum": "so many places must say down",
        "down_for": "without a break for so long",
        "up_for": "a primary must be well for so long before the way home",
        "failback": '"manual": the way home waits for a person',
        "when_lying": '"replace": a primary that refuses good mail is taken out of the records meanwhile',
        "verify_for": "how long the name servers may take to show a change",
        "min_dwell": "no second flip within this time",
        "flips_per_day": "no more flips in 24 hours",
        "nameservers": "the authoritative servers to ask, by address or by name; left out: found in DNS",
        "dkim_selectors": "the primary's; left out: the layout's own",
        "secondary_spf": "what the secondary's mail needs in SPF; left out: known of its provider",
        "secondary_dkim": "the secondary's selectors; left out: known of its provider",
        "homecoming": "how mail at the secondary comes home; left out: it does not",
    },
    "Homecoming": {
        "host": "IMAP at the secondary",
        "accounts": "one login for each mailbox",
        "catch_all": "or one account that holds everybody's mail",
        "deliver": "where it goes; left out: it is gathered and stays",
        "filter": "people's own filter rules choose folder and flags; left out: they are not followed",
        "unroutable": "MAILBOX/FOLDER for what is for nobody; left out: postmaster@DOMAIN/Unrouted",
        "mark": '"keyword" or "folder:NAME": what is home is marked there; left out: nothing is changed there',
    },
    "Account": {"mailbox": "whose mail", "user": "the login there"},
    "CatchAll": {},
    "Deliver": {},
    "Filter": {"host": "where the primary shows filter rules (ManageSieve); left out, with tls's trust: as in deliver"},
    "ImapTable": {},
    "EndpointTable": {},
    "Probe": {
        "every": "how often it is looked at",
        "smtp": "where; left out: the exchanges of its domains",
        "recipient": "a mailbox for this alone; without it a look ends at MAIL FROM",
        "sender": "of the look; left out: the null sender",
        "helo": "what this machine calls itself; left out: its address",
        "imap": "a login that is tried; where canaries are looked for",
        "submission": "ports 465 and 587, tried with the login of imap",
        "submission_login": "false: end before AUTH",
        "spare_refusals": "false where the server's fail2ban ignores this machine",
    },
    "ProbeImap": {},
    "Canary": {
        "every": "how often one is sent",
        "smtp": "the third party's submission server",
        "from": "its address there",
        "to": "the probe's mailbox here",
    },
    "Vantage": {
        "kind": "another machine with sshd, or somebody's monitor",
        "server": "whose way in it watches; left out: the one that has a [probe]",
        "helo": "its own name",
        "references": "for its own line; left out: those of [own_line]",
        "key_file": "the monitor's key or bearer token",
        "monitor": "UptimeRobot: the number in the monitor's address",
        "url": "http: what is asked",
        "up_when": "http: PLACE == VALUE that means up",
        "down_when": "http: that means down; left out: any other value",
    },
    "Notify": {
        "urls_file": "Apprise addresses, one a line, mode 0600",
        "heartbeat_url_file": "an address that is called as long as all is well",
        "digest_at": "one notice a day, also when all is well",
    },
    "Doctor": {
        "resolver": "a recursive one of your own: block lists refuse public ones",
        "block_lists": "lists of addresses; [] asks none",
        "domain_lists": "lists of domains",
        "registry": 'IANA\'s list of registries; "" asks none',
    },
    "OwnLine": {"references": "a majority of them must answer, or it is our own line that is down"},
}


def meaning(table: str, key: str) -> str:
    """Raises KeyError for a key that nobody has explained."""
    own = TABLES[table]
    return own[key] if key in own else EVERYWHERE[key]


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of the configuration with what each key is for."""
    for name, table in schema["$defs"].items():
        for key, value in table.get("properties", {}).items():
            value.setdefault("description", meaning(name, key))
    return schema
