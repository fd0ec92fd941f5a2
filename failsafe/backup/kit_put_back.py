"""Puts config and keys/ back into a restic repository on S3 or on a REST server, from a folder that holds them.

python3 put_back.py FOLDER, with RESTIC_REPOSITORY and the credentials in the environment, as for restic. It overwrites nothing.
Printed whole in every recovery kit, so it needs nothing but Python's standard library (3.9 or newer).
"""

from __future__ import annotations

import base64
import configparser
import datetime
import hashlib
import hmac
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request


class Place:
    """Where the repository lies; `sign` gives the headers of one request."""

    def __init__(self, url: str) -> None:
        self.is_s3 = url.lower().startswith("s3:")
        rest = url.partition(":")[2]
        if self.is_s3 and not rest.lower().startswith(("http://", "https://")):
            rest = "https://" + (rest[2:] if rest.startswith("//") else rest)
        parts = urllib.parse.urlsplit(rest)
        self.user, self.password = (urllib.parse.unquote(each or "") for each in (parts.username, parts.password))
        host = parts.netloc.rpartition("@")[2]
        path = urllib.parse.quote(parts.path.rstrip("/"), safe="/%" if not self.is_s3 else "/")
        self.base = "%s://%s%s/" % (parts.scheme, host, path)

    def ask(self, method: str, name: str, data: bytes | None = None) -> tuple[int, bytes]:
        """(status, content) of one request. 404 is an answer, anything else that is no success an error."""
        url = self.base + name
        headers = self.sign(method, url, data or b"") if self.is_s3 else self.login()
        headers["Content-Type"] = "application/octet-stream"
        request = urllib.request.Request(url, data, headers, method=method)
        context = ssl.create_default_context(cafile=os.environ.get("RESTIC_CACERT"))
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return answer.status, answer.read(1 << 20)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return 404, b""
            said = error.read(500).decode("utf-8", "replace")
            sys.exit("%s %s: HTTP %d %s" % (method, name, error.code, said))
        except OSError as error:
            sys.exit("%s %s: %s" % (method, name, error))

    def put(self, name: str, data: bytes) -> None:
        self.ask("PUT" if self.is_s3 else "POST", name, data)

    def login(self) -> dict[str, str]:
        text = ("%s:%s" % (self.user, self.password)).encode("utf-8")
        return {"Authorization": "Basic " + base64.b64encode(text).decode("ascii")} if self.user else {}

    def sign(self, method: str, url: str, data: bytes) -> dict[str, str]:
        """Headers with an AWS signature, version 4."""
        key, secret, token = credentials()
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        parts = urllib.parse.urlsplit(url)
        digest = hashlib.sha256(data).hexdigest()
        headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": now}
        if token:
            headers["x-amz-security-token"] = token
        names = ";".join(sorted(headers))
        lines = [method, parts.path, "", *("%s:%s" % each for each in sorted(headers.items())), "", names, digest]
        scope = "%s/%s/s3/aws4_request" % (now[:8], region(parts.hostname))
        whole = hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()
        stamp = ("AWS4" + secret).encode("utf-8")
        for word in scope.split("/"):
            stamp = hmac.new(stamp, word.encode("utf-8"), hashlib.sha256).digest()
        text = "AWS4-HMAC-SHA256\n%s\n%s\n%s" % (now, scope, whole)
        signature = hmac.new(stamp, text.encode("utf-8"), hashlib.sha256).hexdigest()
        headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
            key,
            scope,
            names,
            signature,
        )
        return headers


def credentials() -> tuple[str, str, str]:
    """(key, secret, token) from the environment, else from the file of credentials that it names."""
    key, secret, token = (
        os.environ.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    )
    file = os.environ.get("AWS_SHARED_CREDENTIALS_FILE")
    if key or not file:
        return key, secret, token
    found = configparser.ConfigParser()
    found.read(file)
    table = found[os.environ.get("AWS_PROFILE", "default")]
    return table.get("aws_access_key_id", ""), table.get("aws_secret_access_key", ""), table.get("aws_session_token", "")


def region(host: str | None) -> str:
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    parts = (host or "").split(".")
    return named or (parts[1] if len(parts) >= 4 and parts[0] == "s3" else "us-east-1")


def main(folder: str) -> int:
    place = Place(os.environ["RESTIC_REPOSITORY"])
    names = ["config"] + ["keys/" + name for name in sorted(os.listdir(os.path.join(folder, "keys")))]
    wrong = 0
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            wanted = file.read()
        status, there = place.ask("GET", name)
        if status == 404:
            place.put(name, wanted)
            status, there = place.ask("GET", name)
            print("%s: %s" % (name, "put back" if there == wanted else "NOT put back"))
        elif there == wanted:
            print("%s: is there" % name)
        else:
            print("%s: one is there, and was left alone" % name)
        wrong += there != wanted and name != "config"  # the same config is never sealed twice alike
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
