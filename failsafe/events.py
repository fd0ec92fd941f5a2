"""Everything that happens, under a stable dotted name that is never reworded: one event = a row + a log line + maybe a notice."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from failsafe.model import Notice


@dataclass(frozen=True, slots=True)
class Event:
    """`name` is past tense or a state, dotted ("failover.done"); `subject` a domain, server or repository; `text` one sentence."""

    name: str
    subject: str
    text: str
    at: datetime
    details: dict[str, object] = field(default_factory=dict)  # JSON values only, never secrets
    notice: Notice | None = None


# name -> what it means; the reference documentation is printed from here, and a test compares the two.
NAMES: dict[str, str] = {
    "controller.started": "the daemon or a tick began to act",
    "controller.stopped": "the daemon stopped cleanly",
    "controller.taken-over": "a new machine became the controller, from a recovery kit",
    "backup.done": "a backup ended; details say how",
    "backup.part": "a pull that takes long stored what has arrived so far, and goes on",
    "backup.incomplete": "a backup ended without proof that every message is in it",
    "backup.failed": "a backup did not end in a snapshot",
    "backup.recovered": "the first complete backup after others that were not",
    "guard.raised": "a backup did not believe what it found; until a person accepts it nothing is forgotten, pruned or deleted",
    "guard.lifted": "the cause of a guard is gone",
    "guard.accepted": "a person said that a change which raised a guard was meant",
    "mailbox.erased": "a person had a mailbox or a domain erased here; details say which, never what was in it",
    "mailbox.readmitted": "a person let the next backup archive a mailbox again that was erased",
    "restore.done": "messages were restored and read back",
    "restore.short": "a restore ended with messages missing",
    "repository.created": "a restic repository was created",
    "staging.mended": "bytes of staging were lost on this machine's disk, and came back from a snapshot; the disk wants a look",
    "staging.damaged": "bytes of staging were lost on this machine's disk, and no snapshot could give them",
    "snapshot.wanting": "a snapshot lacks files of its generation: it was tagged result:incomplete, or details say why it could not be",
    "repository.forgotten": "snapshots that `keep` lets go were taken off the list",
    "repository.pruned": "data that no snapshot needs was removed",
    "retention.frozen": "nothing was forgotten or pruned in a repository for a week or longer",
    "repository.checked": "a repository was checked; details say what was read",
    "repository.damaged": "a check found damage",
    "kit.made": "a recovery kit was made; details say where it was written",
    "drill.passed": "mail was brought back from a repository and was as its manifests say; details hold the evidence",
    "drill.failed": "a restore drill could not bring mail back as its manifests say, or could not be made",
    "failover-drill.passed": "a failover was rehearsed at a shadow name, there and back, and verified; details hold the evidence",
    "failover-drill.failed": "a failover drill found something wrong, or could not be made; details say what",
    "kit.proved": "a drill brought mail back from a recovery kit alone, from every repository in it",
    "kit.failed": "a drill could not bring mail back from a recovery kit alone; details say why",
    "probe.changed": "a vantage's view of a server's axis changed",
    "host.trouble": "a look from inside a mail server found it short of something: room, a service, a certificate",
    "host.well": "it is well again",
    "delivery.waits": "mail waits in the queue of a mail server, and is safe there; no failover comes of it",
    "delivery.moves": "the queue moves again",
    "delivery.lost": "canaries that a third party accepted did not arrive; with the quorum a failover may come of it",
    "delivery.arrives": "a canary has arrived again",
    "digest.made": "the daily digest was made; it is sent as every notice is",
    "own-line.changed": "our own connection went down or came back",
    "resolvers.seen": "what public resolvers give after a flip: how far it has come into the world's caches",
    "zone.drift": "the MX records were changed by somebody else; nothing is flipped until they fit again",
    "zone.fits": "they are what failsafe expects again",
    "domain.state": "a domain changed its state",
    "failover.planned": "a plan towards the secondary was made and journalled",
    "failover.done": "every authoritative server that answers sends mail to the secondary",
    "failback.planned": "a plan towards the primary was made and journalled",
    "failback.done": "every authoritative server that answers sends mail to the primary",
    "mx.planned": "a plan for the peace layout of a domain was made and journalled",
    "mx.adopted": "the peace layout that the strategy needs stands in the zone",
    "flip.coming": "half of `down_for` is over: when a failover is expected, if nothing changes",
    "flip.blocked": "a flip was due and guards stand against it; details list all of them",
    "flip.observed": "mode observe: a flip would have been made",
    "flip.prepared": "mode manual: a flip is ready and waits for a person",
    "flip.postponed": "a plan was not carried out; nothing was written, and it is tried again later",
    "failback.restore-required": "the primary came back with an empty or rebuilt mail store; the domain is halted until a person has restored it",
    "flip.unshown": "the DNS provider accepted a change, and its name servers do not show it in time",
    "flip.failed": "a plan could not be finished; the domain is halted",
    "homecoming.done": "mail came home from a secondary, or nothing waits any more; details count it",
    "homecoming.waiting": "mail at a secondary cannot come home yet; details count it, and each homecoming tries again",
    "domain.held": "a person put a hold on a domain",
    "domain.released": "a hold ended",
    "domain.reminded": "a person was reminded of a state that lasts",
    "domain.taken-over": "a new machine took over from a lost one; nothing is written until a person says which side serves",
    "domain.acknowledged": "a person said which side serves",
    "doctor.done": "the doctor looked at everything; details count the findings",
    "duty.overdue": "a duty is late",
    "credential.ending": "a DNS provider's credential ends within a month, or has ended; told once a week",
    "notice.failed": "a notice could not be delivered",
    "schema.upgraded": "the database was migrated; a copy was kept",
    "schema.downgraded": "the database was brought back to an older schema, for an older version; a copy was kept",
}

# Those that can tell people: each has a page docs/runbooks/NAME.md, and its notice names the command that prints it.
ALARMS: tuple[str, ...] = (
    "guard.raised",
    "guard.lifted",
    "retention.frozen",
    "drill.passed",
    "drill.failed",
    "host.trouble",
    "host.well",
    "delivery.waits",
    "delivery.moves",
    "delivery.lost",
    "delivery.arrives",
    "digest.made",
    "zone.drift",
    "domain.state",
    "failover.done",
    "failback.done",
    "mx.adopted",
    "flip.coming",
    "flip.blocked",
    "flip.observed",
    "flip.prepared",
    "flip.postponed",
    "failback.restore-required",
    "flip.unshown",
    "flip.failed",
    "homecoming.done",
    "homecoming.waiting",
    "domain.reminded",
    "domain.taken-over",
    "duty.overdue",
    "credential.ending",
)

# Events of every day: kept for a shorter time, and alone no reason to carry the journal into a repository.
ROUTINE = frozenset(
    {
        "backup.done", "backup.part", "backup.failed", "backup.incomplete", "backup.recovered", "controller.started", "controller.stopped",
        "digest.made", "doctor.done", "domain.reminded", "duty.overdue", "notice.failed", "repository.forgotten", "repository.pruned",
    }
)  # fmt: skip
