"""What a person must know of each layout: the words for it, the account for probes, and the user who may open every mailbox. Pure."""

from __future__ import annotations

from shlex import quote

LABELS = {
    "docker-mailserver": "docker-mailserver, in a container",
    "mailcow": "mailcow: dockerized",
    "mailu": "Mailu",
    "maildir": "Postfix and Dovecot with Maildirs, DOMAIN/USER below one folder",
    "imap": "anything else: mail is read over IMAP, with logins",
}
LAYOUTS = tuple(LABELS)
WITH_PLACE = ("docker-mailserver", "mailu", "maildir")  # those that must be told where the mail lies
MASTER_NAMES = {"mailcow": "failsafe@mailcow.local"}


def master_name(layout: str) -> str:
    """The master user's name as the configuration writes it."""
    return MASTER_NAMES.get(layout, "failsafe")


def explain_master(layout: str) -> tuple[str, ...]:
    """How a user is made who may open every mailbox: for restores into many mailboxes, mail that comes home, and the layout imap."""
    first = "A master user opens every mailbox with one password. A backup of files needs none; a restore into mailboxes asks for a login each time."
    if layout == "docker-mailserver":
        how = "docker-mailserver: `setup dovecot-master add failsafe` in the container; it logs in as you@example.org*failsafe."
    elif layout == "mailcow":
        how = "mailcow: DOVECOT_MASTER_USER=failsafe and DOVECOT_MASTER_PASS=… in mailcow.conf, then `docker compose up -d`; its name is failsafe@mailcow.local."
    elif layout == "mailu":
        how = "Mailu takes no master user as it comes; restore into a mailbox with its own password, or to files."
    else:
        how = (
            "Dovecot: `auth_master_user_separator = *` and a `passdb` with `master = yes` and `result_success = continue`; "
            "it logs in as you@example.org*failsafe. Stalwart: an account with the permission `impersonate`."
        )
    return first, how


def probe_command(layout: str, container: str, shell: str, address: str, password: str) -> tuple[str, str]:
    """(what to do, the command) that makes the mailbox for probes; the password goes over standard input. `shell`: "ssh root@host ", "" here.

    The command is "" where it is done on a web page, or depends on the server.
    """
    user, _, domain = address.partition("@")
    file = quote(password)
    if layout == "docker-mailserver":
        inner = f"docker exec -i {quote(container or 'mailserver')} setup email add {quote(address)}"
        return f"make the mailbox {address}", f"cat {file} {file} | {shell}{inner}"
    if layout == "mailu":
        name = container.rpartition("-imap-")[0] or "mailu"
        inner = f'read -r password; docker exec {quote(name)}-admin-1 flask mailu user {quote(user)} {quote(domain)} "$password"'
        return f"make the mailbox {address}", f"{shell}{quote(inner) if shell else 'sh -c ' + quote(inner)} < {file}"
    if layout == "mailcow":
        return (
            f"make the mailbox {address} on mailcow's page (E-Mail, Mailboxes, Add), with the password that this shows",
            f"cat {file}",
        )
    return f"make the mailbox {address} as you make any other there, with the password that this shows", f"cat {file}"
