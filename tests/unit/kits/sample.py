"""A kit with every kind of place, and with values that would break a careless page or a careless shell."""

from __future__ import annotations

from datetime import UTC, datetime

from failsafe.backup.kit import Kit, KitFile, KitRepository, KitServer, KitSsh

PASSWORD = "p'a$s`w\"o<r>d&amp; \\n"
KEYS = (KitFile("config", 0o400, b"\x00\x01config"), KitFile("keys/" + "ab" * 32, 0o400, b'{"kdf":"scrypt"}'))
NAS = KitRepository("nas", "/volume1/it's mail", "0123abcd" * 8, PASSWORD, "/volume1/it's mail", files=KEYS)
FRIEND = KitRepository(
    "friend",
    "sftp://bob@[2001:db8::1]:2222//srv/mail",
    "",
    PASSWORD,
    "sftp://bob@[2001:db8::1]:2222//srv/mail",
    ssh=KitSsh(
        "bob",
        "2001:db8::1",
        2222,
        (KitFile("known_hosts", 0o600, b"[2001:db8::1]:2222 ssh-ed25519 AAAA\n"), KitFile("ssh_key", 0o600, b"a key\n")),
    ),
    files=KEYS,
)
OFFSITE = KitRepository(
    "offsite",
    "s3:https://s3.example.net/mail",
    "",
    PASSWORD,
    "s3:https://s3.example.net/mail",
    environment={"AWS_SECRET_ACCESS_KEY": "it's $ecret", "RESTIC_CACERT": "/etc/failsafe/ca.pem"},
    attached=(KitFile("RESTIC_CACERT", 0o644, b"-----BEGIN CERTIFICATE-----\n"),),
    lacking="its keys/ and config could not be had: <b>no answer</b>",
)
KIT = Kit(
    controller="nas",
    made_at=datetime(2026, 11, 29, 17, 5, 9, tzinfo=UTC),
    failsafe="0.1.0",
    restic="0.18.0",
    archive_format=1,
    config=KitFile("/etc/failsafe/failsafe.toml", 0o644, b"[controller]\n# </script><script>alert(1)</script> &amp;\n"),
    repositories=(NAS, FRIEND, OFFSITE),
    servers=(
        KitServer("vps", "failsafe-vps", "maildir", "failsafe@mail.example.org:22", ("mail.example.org ssh-ed25519 AAAB",)),
    ),
    files=(KitFile("/etc/failsafe/x.token", 0o600, b"\xff\x00</script>", ("dns.cf.token_file",)),),
    lacking=("dns.b.token_file: /etc/failsafe/b cannot be read: No such file or directory",),
)
