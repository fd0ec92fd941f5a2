"""The machine the controller runs on, and from which the tests look at the world."""

import json
from typing import Any

from tests.lab.host import Host
from tests.lab.names import (
    ADDRESSES,
    AUTHORITATIVE,
    DOMAIN,
    NAS_KNOWN_HOSTS,
    NAS_SSH_KEY,
    PYTHON,
    REPOSITORY,
    RESOLVER,
    TSIG_ALGORITHM,
    TSIG_FILE,
    TSIG_NAME,
)
from tests.lab.world import HERE

SSH_CONFIG = """\
Host *
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 5
"""

FAILSAFE = f"""\
#!/bin/sh
PYTHONPATH='{REPOSITORY}' exec '{PYTHON}' -m failsafe "$@"
"""


class Nas(Host):
    """`nas`: has the ssh key to the mail hosts, the TSIG key, and `failsafe` on its PATH."""

    def install(self, ssh_key: str, known_hosts: str, tsig_secret: str) -> None:
        """Write keys (mode 0600) and the `failsafe` command. No daemon runs here."""
        # A host of the lab is a machine, also where the lab runs in a container; its disk is an overlay, and stays.
        self.sh("rm -f /.dockerenv /run/.containerenv; rm -rf /root/.ssh; install -d -m 700 /root/.ssh")
        self.write(NAS_SSH_KEY, ssh_key, 0o600)
        self.write(NAS_KNOWN_HOSTS, known_hosts, 0o600)
        self.write("/root/.ssh/config", SSH_CONFIG, 0o600)
        self.write(TSIG_FILE, tsig_secret + "\n", 0o600)
        # Short names for a person; the names that mail uses are in DNS alone.
        names = "".join(f"{address} {name}\n" for name, address in ADDRESSES.items())
        self.write("/etc/hosts", f"127.0.0.1 localhost\n{names}")
        self.write("/usr/local/bin/failsafe", FAILSAFE, 0o755)

    def _dns(self, *words: str) -> Any:
        return json.loads(self.run(PYTHON, HERE / "tools" / "dns_tool.py", *words).stdout)

    def resolved_mx(self) -> list[str]:
        """The domain's MX records as everybody's resolver gives them: `10 mx1.example.test.`, sorted."""
        return list(self._dns("mx", RESOLVER, DOMAIN))

    def authoritative_mx(self) -> list[str]:
        """The domain's MX records as its own name server gives them."""
        return list(self._dns("mx", AUTHORITATIVE, DOMAIN))

    def set_mx(self, records: list[str], key_file: str = TSIG_FILE) -> None:
        """Replace the MX records in one dynamic update, as a person at the provider's page would.

        Raises HostError with the server's answer if it refuses.
        """
        self._dns("set-mx", AUTHORITATIVE, DOMAIN, key_file, TSIG_NAME, TSIG_ALGORITHM, *records)

    def connect(self, address: str, port: int, seconds: float = 4) -> str:
        """What a TCP connection from here comes to: "open", "refused", or "silent" after that time."""
        done = self.sh(f"timeout {seconds:g} bash -c 'exec 3<>/dev/tcp/{address}/{port}'", check=False)
        if done.returncode == 0:
            return "open"
        if done.returncode == 124:  # what timeout(1) exits with
            return "silent"
        return "refused" if "refused" in done.stderr else done.stderr.strip()
