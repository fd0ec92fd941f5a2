"""The chapters about the outage: the power goes, the MX moves, mail lands at the secondary, and everything comes home."""

from tests.demo import witness
from tests.demo.stage import Stage, now, parse_instant
from tests.demo.telling import NotVerifiedError
from tests.demo.traffic import PAUSE, TAG, Traffic
from tests.lab.names import ALICE, DOMAIN, MX_NAMES

PEACE = f"10 {MX_NAMES['primary']}."
FLIP_SECONDS = 60
ARRIVAL_SECONDS = 60
DETAILS_SHOWN = 3


def to_the_secondary(records: str) -> bool:
    """Whether senders go to the secondary first, and the primary's record is still what it was in peace."""
    first, *others = records.split(";")
    return first.endswith(f" {MX_NAMES['secondary']}.") and others == [PEACE]


def watching(stage: Stage) -> None:
    teller, lab = stage.teller, stage.lab
    teller.chapter("failsafe begins to watch")
    teller.say("""First the doctor looks at everything that a failover relies on; without that, failsafe would not dare one.
        Then the daemon starts. It talks to the mail server as any sending server would, once a second in this hurried world.""")
    doctor = stage.failsafe("doctor", "--json", status=(0, 1)).value
    kinds = [finding["severity"] for finding in doctor["findings"]]
    teller.answer(
        f"{len(kinds)} findings: {kinds.count('ok')} ok, {kinds.count('warn')} warnings, {kinds.count('fail')} failed, "
        f"{kinds.count('skipped')} skipped",
        *(f"ready for a failover: {domain}" for domain, ready in doctor["ready_for_failover"].items() if ready),
    )
    if not doctor["ready_for_failover"].get(DOMAIN):
        blocking = [finding for finding in doctor["findings"] if finding["severity"] == "fail"]
        raise NotVerifiedError("the doctor", f"{DOMAIN} is ready for a failover", blocking)
    teller.command("failsafe run &")
    stage.controller.daemon = stage.controller.start("run")
    stage.until(60, "the daemon starts and looks for the first time", lambda: stage.controller.inbound() == "up", every=0.3)
    stage.traffic = Traffic(lab)
    teller.say(f"Meanwhile somebody begins to write to Alice, {1 / PAUSE:.0f} messages a second, each with a number.")
    stage.until(30, "the first messages arrive", lambda: witness.union(lab, TAG))
    teller.prove("mail arrives on the primary's disk, and nowhere else", {"primary"}, _places(stage))
    records = stage.looks.looks()[-1].records
    teller.prove(f"kdig: the authoritative name server says {PEACE}", PEACE, records)


def the_power_goes(stage: Stage) -> None:
    teller, lab = stage.teller, stage.lab
    teller.chapter("The primary loses power, in the middle of a burst of mail")
    stage.writer.burst()
    before = len(witness.union(lab, TAG))
    stage.until(20, "a burst of mail", lambda: len(witness.union(lab, TAG)) >= before + 10, every=0.02)
    stage.notes["off"] = now()
    lab.primary.power_off()
    stage.notes["dark"] = now()
    teller.say("Sixty messages came at once, and some were still on their way when the plug was pulled.")
    teller.prove("from the NAS, port 25 of the primary is silent", "silent", lab.nas.connect(lab.primary.address, 25, 1))


def the_mx_moves(stage: Stage) -> None:
    teller, lab = stage.teller, stage.lab
    off = stage.notes["off"]
    teller.chapter("The MX moves")
    teller.say("""failsafe now collects evidence: three seconds without a break here, a quarter of an hour in real life, since a
        wrong move is worse than a late one and senders keep mail for days. Nobody types anything.""")
    with teller.waiting("failsafe makes up its mind, and the name server changes"):
        written = stage.looks.wait_for(
            to_the_secondary, "the secondary first, the primary as it was", after=off, seconds=FLIP_SECONDS
        )
    agreed = stage.wait_for_log("failover.done", off, 30)
    suspected = stage.wait_for_log("domain.state", off, 1)
    decided = stage.wait_for_log("failover.planned", off, 1)
    teller.command("failsafe events --since 1h")
    teller.answer(*(event["text"] for event in _events_after(stage, off)))
    teller.proved(f"kdig: the authoritative name server now says {written.records.replace(';', ', ')} (lower is preferred)")
    stage.until(20, "the resolver forgets the old records", lambda: witness.resolved(lab) == written.records.split(";"))
    teller.proved("kdig: so does the resolver that the rest of the world asks")
    teller.measured("power off -> outage noticed", suspected - off)
    teller.measured("power off -> decided, with 3 s of evidence asked for", decided - off)
    teller.measured("decided -> new records seen by kdig", max(written.at - decided, 0.0))
    teller.measured("decided -> failsafe has verified every name server", agreed - decided)


def at_the_secondary(stage: Stage) -> None:
    teller, lab = stage.teller, stage.lab
    teller.chapter("Mail lands at the secondary")
    teller.say("""No sender was told anything: they ask DNS, as always, and what they could not deliver they try again.""")
    first = stage.until(ARRIVAL_SECONDS, "the first message at the secondary", lambda: lab.secondary.maildir_ids(ALICE))
    teller.measured("power off -> first mail at the secondary", now() - stage.notes["off"])
    late = [lab_id for lab_id, at in stage.writer.sent().items() if at > stage.notes["dark"]]
    stage.until(
        ARRIVAL_SECONDS,
        "what was written during the outage arrives",
        lambda: set(late[:DETAILS_SHOWN]) <= set(lab.secondary.maildir_ids(ALICE)),
    )
    over_imap = set(lab.secondary.imap_ids(ALICE))
    missing = set(first) - over_imap
    teller.prove(
        f"over IMAP, Alice reads {len(over_imap)} messages at the secondary that the dead primary could not take", set(), missing
    )


def the_primary_returns(stage: Stage) -> None:
    teller, lab = stage.teller, stage.lab
    teller.chapter("The primary returns, and the MX moves back")
    on = now()
    lab.primary.boot()
    teller.say("""The power is back. failsafe waits until the primary has looked well for a while, and proves that it is really
        Alice's server (certificate, host key, login, accounts, disk) before it sends her mail there again.""")
    with teller.waiting("failsafe watches the primary, and moves the MX back"):
        back = stage.looks.wait_for(lambda records: records == PEACE, PEACE, after=on, seconds=FLIP_SECONDS)
    stage.wait_for_log("failback.done", on, 30)
    teller.command("failsafe events --since 1h")
    teller.answer(*(event["text"] for event in _events_after(stage, on)))
    teller.prove("kdig: the records are exactly what they were in peace", PEACE, stage.looks.looks()[-1].records)
    sets, looks = stage.looks.sets_seen(), len(stage.looks.looks())
    if len(sets) != 3 or [sets[0], sets[2]] != [PEACE, PEACE] or not to_the_secondary(sets[1]):
        raise NotVerifiedError("the record sets that kdig saw, in order", "peace, outage, peace", sets)
    teller.proved(f"in {looks} looks through the whole story kdig saw these two sets and no other: never an empty one")
    teller.measured("primary back -> MX back, with 2 s of health asked for", back.at - on)


def nothing_is_lost(stage: Stage) -> None:
    teller, lab = stage.teller, stage.lab
    teller.chapter("Counting: was anything lost?")
    arrived = len(lab.primary.maildir_ids(ALICE))
    stage.until(ARRIVAL_SECONDS, "new mail reaches the primary again", lambda: len(lab.primary.maildir_ids(ALICE)) > arrived)
    stage.writer.stop()
    sent = set(stage.writer.sent())
    hosts = (lab.sender, lab.primary, lab.secondary)
    stage.until(ARRIVAL_SECONDS, "the queues drain", lambda: not any(host.queue_length() for host in hosts))
    stage.until(ARRIVAL_SECONDS, "the last message arrives", lambda: sent <= set(witness.union(lab, TAG)))
    found = witness.union(lab, TAG)
    teller.prove(
        f"all {len(sent)} messages that were sent lie in a mailbox, by the files on both disks; none is lost", sent, set(found)
    )
    teller.prove("no sender got a bounce, by the sender's mail log", [], lab.sender.bounces())
    doubled = {lab_id: places for lab_id, places in found.items() if len(places) > 1}
    _explain(stage, doubled)
    at = {name: sum(name in places for places in found.values()) for name in ("primary", "secondary")}
    teller.measured("messages sent / lost / twice", f"{len(sent)} / {len(sent - set(found))} / {len(doubled)}")
    teller.measured("of them at the primary / at the secondary", f"{at['primary']} / {at['secondary']}")


def _explain(stage: Stage, doubled: dict[str, list[str]]) -> None:
    """A doubled message must be one whose delivery the power cut interrupted."""
    if not doubled:
        stage.teller.proved("none lies there twice")
        return
    dark, sent = stage.notes["dark"], stage.writer.sent()
    strange = [lab_id for lab_id in doubled if sent[lab_id] > dark]
    stage.teller.prove(
        f"""{len(doubled)} lie there twice, all sent before the power went: the primary had stored them, but its "250 OK" was
        lost with it, so the sender had to send them again. Mail is made so (RFC 1047): rather twice than never""",
        [],
        strange,
    )


def _places(stage: Stage) -> set[str]:
    return {place for places in witness.union(stage.lab, TAG).values() for place in places}


def _events_after(stage: Stage, instant: float) -> list[dict[str, str]]:
    """What failsafe told about the domain since then, the oldest first."""
    return [event for event in stage.events() if event["subject"] == DOMAIN and parse_instant(event["at"]) >= int(instant)]
