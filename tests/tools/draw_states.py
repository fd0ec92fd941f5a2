"""Draws docs/failover-states.svg from the state table: `python -m tests.tools.draw_states`. A test compares the two."""

from __future__ import annotations

from itertools import groupby
from math import hypot
from pathlib import Path

from failsafe.failover.machine import ROWS, Trigger
from failsafe.model import DomainState

FILE = Path(__file__).parents[2] / "docs" / "failover-states.svg"
WIDTH, HEIGHT, BOX_WIDTH, BOX_HEIGHT = 1000, 560, 150, 46
PLACES = {
    DomainState.NORMAL: (130, 150),
    DomainState.SUSPECT: (500, 150),
    DomainState.FAILING_OVER: (870, 150),
    DomainState.FAILING_BACK: (130, 400),
    DomainState.RECOVERING: (500, 400),
    DomainState.FAILED_OVER: (870, 400),
}
BENT = {  # how far an arrow bends aside, in pixels; others by 26
    (DomainState.NORMAL, DomainState.FAILING_OVER): 210,
    (DomainState.FAILED_OVER, DomainState.FAILING_BACK): 210,
    (DomainState.NORMAL, DomainState.FAILED_OVER): -40,
    (DomainState.FAILED_OVER, DomainState.NORMAL): -40,
    (DomainState.SUSPECT, DomainState.FAILED_OVER): -30,
    (DomainState.RECOVERING, DomainState.NORMAL): -30,
    (DomainState.SUSPECT, DomainState.FAILING_OVER): -26,
    (DomainState.FAILING_OVER, DomainState.SUSPECT): -26,
}
BY_A_PERSON = (Trigger.ACKNOWLEDGED_PRIMARY, Trigger.ACKNOWLEDGED_SECONDARY)
STYLE = (
    ".b{fill:#f5f8fc;stroke:#35618e;stroke-width:2}.a{fill:none;stroke:#35618e;stroke-width:1.6;marker-end:url(#m)}.d{stroke-dasharray:6 4}"
    ".t{font-size:17px;font-weight:bold;text-anchor:middle;fill:#1c2733}.l{font-size:13px;text-anchor:middle;fill:#1c2733}"
    ".w{font-size:13px;text-anchor:middle;stroke:#fff;stroke-width:5px}.r{font-size:12.5px;fill:#b3261e;text-anchor:middle}"
)


def draw() -> str:
    """Arrows into `halted` are words at their state; a person's word, which may come in every resting state, is left out."""
    rows = [row for row in ROWS if row.trigger not in BY_A_PERSON]
    moves = sorted(((row.state, row.to), str(row.trigger)) for row in rows if row.to is not DomainState.HALTED)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" role="img" aria-label="the states of a domain and what leads from one to the other">',
        f'<style>{STYLE}</style><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        '<defs><marker id="m" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z" fill="#35618e"/></marker></defs>',
    ]
    for (state, to), group in groupby(moves, key=lambda move: move[0]):
        lines += _arrow(state, to, [trigger for _, trigger in group])
    for state in PLACES:
        stuck = [str(row.trigger) for row in rows if row.state is state and row.to is DomainState.HALTED]
        lines += _box(state, stuck)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _box(state: DomainState, stuck: list[str]) -> list[str]:
    x, y = PLACES[state]
    lines = [
        f'<rect class="b" x="{x - BOX_WIDTH / 2:g}" y="{y - BOX_HEIGHT / 2:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="9"/>',
        f'<text class="t" x="{x}" y="{y + 6}">{state}</text>',
    ]
    if stuck:
        outside = y + (-1 if y < HEIGHT / 2 else 1) * (BOX_HEIGHT / 2 + 14)
        lines += _label(x, outside, f"{', '.join(stuck)} → halted", "r")
    return lines


def _arrow(state: DomainState, to: DomainState, triggers: list[str]) -> list[str]:
    (x1, y1), (x2, y2) = PLACES[state], PLACES[to]
    long = hypot(x2 - x1, y2 - y1)
    bend = BENT.get((state, to), -26)
    across, along = -(y2 - y1) / long, (x2 - x1) / long
    cx, cy = (x1 + x2) / 2 - across * bend, (y1 + y2) / 2 - along * -bend * -1
    start, end = _edge((x1, y1), (cx, cy)), _edge((x2, y2), (cx, cy))
    at = 0.5 if abs(bend) > 100 or y1 == y2 or x1 == x2 else 0.36
    lx = (1 - at) ** 2 * start[0] + 2 * at * (1 - at) * cx + at**2 * end[0]
    ly = (1 - at) ** 2 * start[1] + 2 * at * (1 - at) * cy + at**2 * end[1]
    seen = " d" if all(trigger.startswith("seen") for trigger in triggers) else ""
    return [
        f'<path class="a{seen}" d="M{start[0]:.0f} {start[1]:.0f}Q{cx:.0f} {cy:.0f} {end[0]:.0f} {end[1]:.0f}"/>',
        *(line for place, trigger in enumerate(triggers) for line in _label(lx, ly + 16 * place, trigger, "l")),
    ]


def _label(x: float, y: float, text: str, kind: str) -> list[str]:
    """On white, so that lines pass behind it."""
    return [f'<text class="{name}" x="{x:.0f}" y="{y + 4:.0f}">{text}</text>' for name in ("w", kind)]


def _edge(centre: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Where the line from a box's centre leaves the box."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    scale = min((BOX_WIDTH / 2 + 3) / abs(dx) if dx else 9e9, (BOX_HEIGHT / 2 + 3) / abs(dy) if dy else 9e9)
    return centre[0] + dx * scale, centre[1] + dy * scale


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
