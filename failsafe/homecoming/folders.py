"""Which folders of the secondary come home, and what the primary calls them. Pure.

A server that knows special-use attributes (RFC 6154) tells what a folder is for; else its name does, in the languages that programs make folders in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum


class Place(StrEnum):
    """What a folder is for. Its value is how the primary's folder is named where it has none of the kind yet."""

    INBOX = "INBOX"
    JUNK = "Junk"
    SENT = "Sent"
    TRASH = "Trash"
    ARCHIVE = "Archive"
    DRAFTS = "Drafts"
    VIEW = ""  # shows messages that lie elsewhere
    OTHER = "other"  # a person made it


_BY_ATTRIBUTE = {
    "\\junk": Place.JUNK,
    "\\sent": Place.SENT,
    "\\trash": Place.TRASH,
    "\\archive": Place.ARCHIVE,
    "\\drafts": Place.DRAFTS,
    "\\all": Place.VIEW,
    "\\flagged": Place.VIEW,
    "\\important": Place.VIEW,
}
_NAMES = {
    Place.JUNK: "junk, spam, junk email, junk e-mail, junk-e-mail, junk mail, bulk, bulk mail, unerwünscht, spamverdacht, pourriel, indésirables, "
    "courrier indésirable, correo no deseado, no deseado, posta indesiderata, indesiderata, ongewenst, ongewenste e-mail, lixo eletrônico, "
    "lixo eletrónico, skräppost, søppelpost, uønsket post, uønsket mail, roskaposti, niechciane, spam/niechciane, nevyžádaná pošta, спам, "
    "нежелательная почта, 迷惑メール, 垃圾邮件, 垃圾郵件, 스팸",
    Place.SENT: "sent, sent items, sent mail, sent messages, sent-mail, gesendet, gesendete elemente, gesendete objekte, gesendete nachrichten, "
    "envoyés, messages envoyés, éléments envoyés, enviados, elementos enviados, mensajes enviados, inviata, inviati, posta inviata, verzonden, "
    "verzonden items, verzonden berichten, itens enviados, mensagens enviadas, e-mails enviados, skickat, skickade, sendt, sendte elementer, "
    "sendt post, lähetetyt, wysłane, elementy wysłane, odeslané, odeslaná pošta, отправленные, 送信済み, 送信済みアイテム, "
    "送信済みメール, 已发送, 已发送邮件, 已傳送郵件, 寄件備份, 보낸 편지함",
    Place.TRASH: "trash, bin, deleted, deleted items, deleted messages, papierkorb, gelöscht, gelöschte elemente, gelöschte objekte, corbeille, "
    "éléments supprimés, papelera, eliminados, elementos eliminados, cestino, posta eliminata, prullenbak, verwijderde items, lixeira, lixo, "
    "itens excluídos, papperskorg, papperskorgen, papirkurv, papirkurven, roskakori, kosz, elementy usunięte, koš, odstraněná pošta, корзина, "
    "удалённые, удаленные, ゴミ箱, 削除済みアイテム, 已删除, 已删除邮件, 垃圾桶, 휴지통",
    Place.ARCHIVE: "archive, archives, archiv, archivio, archivo, archief, arquivo, arkiv, arkisto, archiwum, архив, アーカイブ, 归档, 封存",
    Place.DRAFTS: "drafts, draft, entwürfe, entwurf, brouillons, borradores, bozze, concepten, rascunhos, utkast, kladder, luonnokset, robocze, "
    "wersje robocze, koncepty, rozepsané, черновики, 下書き, 草稿, 草稿箱, 임시보관함, outbox, postausgang, templates, vorlagen",
    # Few, since what lies in such a folder is not read at all: a person may call a folder "Important" or "Starred".
    Place.VIEW: "all mail, all sent, all drafts, all scheduled",
}
_BY_NAME = {name: place for place, names in _NAMES.items() for name in names.split(", ")}
_GMAIL = ("[gmail]/", "[google mail]/", "[googlemail]/")
_GMAIL_VIEWS = frozenset(
    {
        "starred", "important", "alle nachrichten", "markiert", "wichtig", "tous les messages", "suivis", "todos", "destacados", "importantes",
        "tutti i messaggi", "speciali", "importanti", "alle e-mails", "met ster", "belangrijk", "todos os e-mails", "com estrela",
    }
)  # fmt: skip
_LABELS, _FOLDERS = "Labels/", "Folders/"  # of Proton's Bridge: what else a message is called, and the folders that people made
_BRIDGES = frozenset({"All Mail", "Starred"})  # a person may hide the first


def place_of(folder: str, attributes: Collection[str] = ()) -> Place:
    """`folder`: IMAP name, UTF-8, "/"; `attributes`: what LIST says of it, where that is known."""
    if folder.upper() == "INBOX":
        return Place.INBOX
    for attribute in attributes:
        if (place := _BY_ATTRIBUTE.get(attribute.lower())) is not None:
            return place
    name = folder.casefold().removeprefix("inbox/")  # some servers keep all folders below it
    for top in _GMAIL:
        if name.startswith(top) and name.removeprefix(top) in _GMAIL_VIEWS:
            return Place.VIEW
        name = name.removeprefix(top)
    return _BY_NAME.get(name, Place.OTHER)


def comes_home(folder: str, attributes: Collection[str] = ()) -> bool:
    """Whether the folder's messages are looked at by a homecoming at all. Drafts are nobody's mail yet."""
    return place_of(folder, attributes) not in (Place.VIEW, Place.DRAFTS)


def views_in(listing: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Folders of which all lies in others too, so that they need not be read. `listing`: all folders of a mailbox, and their attributes.

    "Labels/…" is one where Proton's Bridge answers, told by folders that it alone has; elsewhere a person called a folder so.
    """
    is_bridge = any(folder in _BRIDGES for folder in listing)
    return frozenset(
        folder
        for folder, given in listing.items()
        if place_of(folder, given) is Place.VIEW or (is_bridge and folder.startswith(_LABELS))
    )


def home_name(folder: str, attributes: Collection[str] = ()) -> str:
    """What the folder is called at home, before the primary's own names are known."""
    place = place_of(folder, attributes)
    return folder.removeprefix(_FOLDERS) if place is Place.OTHER else place.value


def folder_at(name: str, listing: Mapping[str, Collection[str]]) -> str:
    """The primary's folder for what `home_name` gave: the one it marks as such, else one with a usual name, else a new one of this name.

    `listing`: the primary's folders and their attributes.
    """
    place = next((place for place in (Place.JUNK, Place.SENT, Place.TRASH, Place.ARCHIVE) if place.value == name), None)
    if place is None:
        return name
    marked = sorted(
        folder for folder, given in listing.items() if any(_BY_ATTRIBUTE.get(each.lower()) is place for each in given)
    )
    named = sorted((folder for folder in listing if place_of(folder) is place), key=lambda folder: (folder != name, folder))
    return (marked or named or [name])[0]
