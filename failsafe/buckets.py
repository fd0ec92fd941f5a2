"""Looks at the bucket behind a repository, judges it, and keeps what was seen for `status`. Used by `verify` and `doctor`, never by `status`."""

from __future__ import annotations

import contextlib

from failsafe.app import App
from failsafe.backup.bucket import judge_bucket, judge_unasked
from failsafe.errors import ExternalError, FailsafeError
from failsafe.model import Finding


def look_at_bucket(app: App, name: str) -> tuple[Finding, ...]:
    """() where the repository is not on S3. What cannot be asked is a finding, too."""
    bucket = app.bucket(name)
    if bucket is None:
        return ()
    listed: int | None = None
    with contextlib.suppress(ExternalError):  # restic's own trouble has findings of its own
        listed = len(app.repository(name).snapshots())
    try:
        facts = bucket.look(app.clock.now())
    except FailsafeError as error:
        return judge_unasked(name, str(error), error.mend)
    app.duties.change_details(name, bucket={**facts.to_json(), "restic_snapshots": listed})
    return judge_bucket(name, facts, listed)
