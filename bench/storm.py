"""Backups while a storm blows over the mail: failsafe's pull, and rsync with restic in its place, over the same sshd. What is lost?"""

import shutil
import statistics
import tempfile
from pathlib import Path

from bench.report import Line, Report
from tests.contract import storm
from tests.contract.mailstore import Store
from tests.contract.sshd import Sshd, running
from tests.contract.storming import SLOWEST, Judged, blowing, judge_ours, judge_peer

OK_SHARE = 0.9  # of the runs that must end proven complete


def measure(seeds: int) -> Report:
    """Each seed blows twice: once over us, once over the peer."""
    how = (
        f"{seeds} storms over {storm.MESSAGES:,} messages in one folder: {storm.RATE} renames a second (half of them on {storm.HOT} messages), "
        "deliveries, copies, moves there and back, expunges; equal names with other content in two folders and two mailboxes. The storm's own "
        "witness knows which contents were there at every moment of a run; lost is what of them is not in what the run made. failsafe: the first "
        "pull of an unknown store, judged by its archive. The peer: `rsync -a --delete` over the same sshd, then `restic backup`, judged by "
        "`restic restore`; it counts as ok where rsync ends with 0 or 24 (files vanished) and restic with 0."
    )
    report = Report("storm", how)
    with tempfile.TemporaryDirectory(prefix="failsafe-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        (folder / "sshd").mkdir()
        with running(folder / "sshd") as sshd:
            ours, peers = zip(*(_both(folder, sshd, seed) for seed in range(1, seeds + 1)), strict=True)
    _tell(report, "failsafe", ours)
    proven = sum(run.result == "ok" for run in ours)
    report.lines.append(Line("failsafe: ended ok", f"{proven} of {seeds}", f">= {OK_SHARE:.0%}", proven >= OK_SHARE * seeds))
    untrue = sum(not run.is_true for run in ours)
    report.lines.append(Line("failsafe: ok with messages missing, or silent", f"{untrue} of {seeds}", "0", untrue == 0))
    _tell(report, "rsync + restic", peers)
    report.fact("rsync + restic: ended ok", f"{sum(run.result == 'ok' for run in peers)} of {seeds}")
    false = sum(run.result == "ok" and run.lost > 0 for run in peers)
    report.fact("rsync + restic: ok with messages missing", f"{false} of {seeds}")
    slowest = min(run.rate for run in (*ours, *peers))
    report.lines.append(Line("slowest storm", f"{slowest:.0f} renames/s", f">= {SLOWEST} renames/s", slowest >= SLOWEST))
    return report


def _both(folder: Path, sshd: Sshd, seed: int) -> tuple[Judged, Judged]:
    ssh = [
        "ssh",
        "-F",
        "/dev/null",
        "-p",
        str(sshd.port),
        "-i",
        str(sshd.key),
        f"-oUserKnownHostsFile={sshd.known_hosts}",
        "-oBatchMode=yes",
    ]
    place = folder / "world"
    with blowing(place, seed) as blow:
        ours = judge_ours(Store(place), sshd.host(), blow, seed)
    shutil.rmtree(place)
    with blowing(place, seed) as blow:
        peer = judge_peer(place, ssh, f"{sshd.user}@127.0.0.1", blow, seed)
    shutil.rmtree(place)
    for who, run in (("failsafe", ours), ("rsync + restic", peer)):
        print(f"{who:<15} {run.row}", flush=True)
    return ours, peer


def _tell(report: Report, who: str, runs: tuple[Judged, ...]) -> None:
    lost = [run.lost for run in runs]
    report.fact(f"{who}: messages lost, each run", ", ".join(map(str, lost)))
    report.fact(f"{who}: messages lost, median and most", f"{statistics.median(lost):g}, {max(lost)} of {runs[0].there:,}")
    report.fact(f"{who}: a run, median", f"{statistics.median(run.seconds for run in runs):.0f} s")
