"""Judges a bucket: whether mail there outlives whoever takes over this machine, and whether what restic lists is really there. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from failsafe.bucket import BucketFacts, Deleting
from failsafe.model import Finding, Severity

FAIL, WARN, OK, SKIPPED = Severity.FAIL, Severity.WARN, Severity.OK, Severity.SKIPPED
LOCK, DELETE, CONTENTS = "bucket-lock", "bucket-delete", "bucket-contents"
DOCS = "docs/repositories.md has an example"


def judge_bucket(name: str, facts: BucketFacts, listed: int | None) -> tuple[Finding, ...]:
    """`listed`: how many snapshots restic lists there; None where it could not be asked."""
    return (judge_lock(name, facts), judge_delete(name, facts), judge_contents(name, facts, listed))


def judge_unasked(name: str, error: str, mend: str) -> tuple[Finding, ...]:
    """The bucket could not be asked: nothing is known, which is not the same as well."""
    first = Finding(LOCK, WARN, name, f"nothing is known of its bucket: {error}", mend)
    return (first, *(Finding(code, SKIPPED, name, "the bucket could not be asked") for code in (DELETE, CONTENTS)))


def judge_lock(name: str, facts: BucketFacts) -> Finding:
    """Whether a version, once written, stays for a while whatever anybody says; and whether the bucket itself deletes what restic needs."""
    for rule in facts.rules or ():
        text = f"lifecycle rule {rule.name} of the bucket {rule.does}; restic needs every one of its files until it prunes them itself"
        return Finding(
            LOCK, FAIL, name, text, "take the rule away, or let it act on old versions only (NoncurrentVersionExpiration)"
        )
    protected = facts.deleting in (Deleting.DENIED, Deleting.HIDES)
    if facts.lock and facts.lock_days:
        text = f"versions are locked for {facts.lock_days} day(s) ({facts.lock_mode}), versioning is {facts.versioning}"
        return Finding(LOCK, OK, name, text)
    if facts.lock:
        text = "object lock is on, but has no default retention, so nothing is locked"
        return Finding(LOCK, OK if protected else WARN, name, text, "" if protected else f"set a default retention; {DOCS}")
    if facts.versioning == "on":
        return Finding(LOCK, OK if protected else WARN, name, "versioning is on, object lock is off", "" if protected else DOCS)
    if facts.versioning is None:
        return Finding(LOCK, SKIPPED, name, "this credential may not ask whether versioning or object lock is on")
    text = f"versioning is {facts.versioning} and object lock is off: what is overwritten or deleted there is gone"
    return Finding(LOCK, OK if facts.deleting is Deleting.DENIED else WARN, name, text, f"turn versioning on; {DOCS}")


def judge_delete(name: str, facts: BucketFacts) -> Finding:
    """Whether the credential that lies on this machine every day could destroy the backups: tried, not read from a policy."""
    if facts.deleting is Deleting.DENIED:
        return Finding(DELETE, OK, name, "the everyday credential cannot delete there (tried)")
    if facts.deleting is Deleting.HIDES:
        return Finding(DELETE, OK, name, "the everyday credential can only hide objects; their versions stay (tried)")
    if facts.deleting is Deleting.UNKNOWN:
        text = "the everyday credential may not write there: no snapshot can be made"
        return Finding(DELETE, FAIL, name, text, "give it s3:PutObject, s3:GetObject and s3:ListBucket")
    mend = f"give it a policy without s3:DeleteObject outside locks/, and forget with maintenance_environment_file; {DOCS}"
    return Finding(DELETE, WARN, name, "the everyday credential can delete for good there (tried): so can who steals it", mend)


def judge_contents(name: str, facts: BucketFacts, listed: int | None) -> Finding:
    """The bucket's own list against restic's word."""
    there = facts.contents
    if there is None:
        return Finding(
            CONTENTS, SKIPPED, name, "this credential may not list the bucket, so restic cannot either", "give it s3:ListBucket"
        )
    total, size = sum(each.files for each in there.values()), sum(each.bytes for each in there.values())
    found = there["snapshots"].files
    if total == 0:
        return Finding(CONTENTS, SKIPPED if not listed else FAIL, name, "no repository is there", "failsafe backup")
    kit = "bring it back from the recovery kit"
    if there["keys"].files == 0:
        return Finding(CONTENTS, FAIL, name, "its keys/ are gone: no password opens what is there", kit)
    if there["config"].files == 0:
        return Finding(CONTENTS, FAIL, name, "its file config is gone: restic sees no repository there", kit)
    if found and (there["data"].files == 0 or there["index"].files == 0) and facts.whole:
        return Finding(CONTENTS, FAIL, name, f"{found} snapshots, and no data or index", f"failsafe verify --repository {name}")
    if listed is not None and listed > found and facts.whole:
        text = f"restic lists {listed} snapshots, {found} are really there"
        return Finding(CONTENTS, FAIL, name, text, f"failsafe verify --repository {name}")
    if listed is not None and listed < found and _is_old(facts):
        text = f"{found} snapshots are really there, restic lists {listed}"
        return Finding(CONTENTS, WARN, name, text, f"failsafe verify --repository {name}")
    more = "" if facts.whole else " at least"
    return Finding(CONTENTS, OK, name, f"{found} snapshots and{more} {total} files are really there, {size / 1e6:.1f} MB")


def _is_old(facts: BucketFacts) -> bool:
    """A snapshot that was made since restic was asked is no difference."""
    newest: datetime | None = facts.newest_snapshot_at
    return newest is not None and facts.at - newest > timedelta(hours=1)
