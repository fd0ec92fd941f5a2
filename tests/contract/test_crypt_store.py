"""A store that a real Dovecot encrypts and compresses, as mailcow's does, goes into an archive and comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from failsafe.backup.pull import PullOptions, pull
from failsafe.clock import SystemClock
from failsafe.mail.headers import Storage, storage_of
from failsafe.model import Result
from tests.contract.dovecot import Dovecot
from tests.contract.mailstore import Silent, Store

ANNA = "anna@example.org"
MORE = """
mail_plugins = mail_crypt zlib
plugin {
  mail_crypt_global_private_key = <{folder}/keys/ecprivkey.pem
  mail_crypt_global_public_key = <{folder}/keys/ecpubkey.pem
  mail_crypt_save_version = 2
  zlib_save = lz4
}
"""
PLUGIN = Path("/usr/lib/dovecot/modules/lib10_mail_crypt_plugin.so")


def make_keys(folder: Path) -> None:
    folder.mkdir()
    private, public = folder / "ecprivkey.pem", folder / "ecpubkey.pem"
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "genpkey", *curve, "-out", str(private)], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True, capture_output=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="a mail store of another user needs root")
@pytest.mark.skipif(not PLUGIN.exists(), reason="Dovecot's mail_crypt is not installed (Debian: dovecot-core)")
def test_encrypted_mail_is_archived_byte_for_byte_and_read_again_with_the_keys_of_the_snapshot(tmp_path: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="failsafe-crypt-"))  # Dovecot's own users must reach it
    home.chmod(0o755)
    make_keys(home / "keys")
    server = Dovecot(home, [ANNA], more=MORE)
    try:
        server.start()
        there_and_back(server, tmp_path)
    finally:
        server.kill()
        shutil.rmtree(home, ignore_errors=True)


def there_and_back(server: Dovecot, tmp_path: Path) -> None:
    home = server.folder
    bodies = [f"Subject: {number}\r\n\r\nsecret {number}\r\n".encode() * 3 for number in range(3)]
    for body in bodies:
        server.doveadm("save", "-u", ANNA, data=body)
    before = server.doveadm("fetch", "-u", ANNA, "uid text", "all")
    on_disk = {path.read_bytes() for path in (home / "mail").rglob("cur/*")} | {
        path.read_bytes() for path in (home / "mail").rglob("new/*")
    }
    assert {storage_of(data) for data in on_disk} == {Storage.ENCRYPTED}
    store = Store(tmp_path)
    options = PullOptions("vps", str(home / "mail"), extra_paths=(str(home / "keys"),))
    with store.open_staging() as staging, store.open_inventory() as inventory:
        report = pull(store.host, staging, inventory, options, SystemClock(), Silent())
        assert (report.result, report.total) == (Result.OK, 3)
        refs = {ref.path: ref for ref in staging.archive.files(store.newest(staging))}
        keys = {
            name: staging.archive.read_file(refs[f"{home}/keys/{name}".lstrip("/")]) for name in ("ecprivkey.pem", "ecpubkey.pem")
        }

    shutil.rmtree(home / "mail" / "example.org")
    shutil.rmtree(home / "keys")
    (home / "keys").mkdir()
    for name, data in keys.items():
        (home / "keys" / name).write_bytes(data)
    subprocess.run(
        [sys.executable, str(tmp_path / "staging" / "rebuild.py"), str(tmp_path / "rebuilt")], check=True, capture_output=True
    )
    assert {path.read_bytes() for path in (tmp_path / "rebuilt").rglob("cur/*")} | {
        path.read_bytes() for path in (tmp_path / "rebuilt").rglob("new/*")
    } == on_disk
    shutil.copytree(tmp_path / "rebuilt" / "example.org", home / "mail" / "example.org")
    subprocess.run(["chown", "-R", "5000:5000", str(home / "mail")], check=True)
    server.doveadm("reload")
    assert server.doveadm("fetch", "-u", ANNA, "uid text", "all") == before
