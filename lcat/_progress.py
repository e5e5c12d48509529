"""Progress on standard error: a bar on a terminal, and a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Pace", "duration", "progress_bar"]

#: A log gets a line after so many seconds, or so large a part of the work.
_SECONDS = 30.0
_SHARE = 0.1


class Pace:
    """Decides when a log gets its next line: for the first step, then every 30 seconds or 10 per cent.

    Args:
        clock: seconds from any moment on.

    Example:
        >>> from lcat._progress import Pace
        >>> pace = Pace(clock=lambda: 0.0)
        >>> [done for done in range(31) if pace.is_due(done, 30)]
        [0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[float, float] | None = None

    def is_due(self, done: float, total: float | None) -> bool:
        """Whether a line is due, which is then taken as written."""
        now = self._clock()
        if self._last is not None:
            when, before = self._last
            # Rounded, as ten shares of a tenth are not quite one.
            more = round(done - before, 6) >= round(_SHARE * total, 6) and done > before if total else False
            if not more and now - when < _SECONDS:
                return False
        self._last = (now, done)
        return True


def progress_bar(
    total: float | None, title: str, unit: str, *, show: bool = True, initial: float = 0, **options: Any
) -> Any:
    """A bar of tqdm, or lines of the same progress where standard error is no terminal; use it in ``with``.

    Args:
        total: steps of the whole work, ``None`` if unknown.
        title: what is being done.
        unit: of the steps.
        show: ``False`` shows nothing.
        initial: steps that are done already.
        **options: more of tqdm's, such as ``unit_scale``.
    """
    if show and sys.stderr is not None and not sys.stderr.isatty():
        return _Lines(total, title, unit, initial)
    from tqdm import tqdm

    return tqdm(
        total=total, desc=title, unit=unit, initial=initial, disable=not show, leave=False, file=sys.stderr, **options
    )  # fmt: skip


class _Lines:
    """The part of tqdm's interface that lcat uses, with a line now and then in place of the bar."""

    def __init__(self, total: float | None, title: str, unit: str, initial: float) -> None:
        self.n, self.total = initial, total
        self._title, self._unit, self._facts = title, unit, ""
        self._start, self._initial = time.monotonic(), initial
        self._pace = Pace()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, steps: float = 1) -> None:
        self.n += steps
        self.refresh()

    def set_postfix(self, refresh: bool = True, **facts: Any) -> None:
        self._facts = "".join(f", {name} {value}" for name, value in facts.items())
        if refresh:
            self.refresh()

    def refresh(self) -> None:
        if self._pace.is_due(self.n, self.total):
            print(self._line(), file=sys.stderr, flush=True)

    def close(self) -> None:
        pass

    def _line(self) -> str:
        if self._unit == "B":
            done, total, unit = f"{self.n / 1e6:,.1f}", f"{(self.total or 0) / 1e6:,.1f}", "MB"
        else:
            done, total, unit = f"{self.n:,.0f}", f"{self.total or 0:,.0f}", f"{self._unit}s"
        words = f"lcat: {self._title}: {done}" + (f" of {total}" if self.total else "") + f" {unit}{self._facts}"
        steps = self.n - self._initial
        if self.total and steps > 0 and self.n < self.total:
            left = (time.monotonic() - self._start) / steps * (self.total - self.n)
            words += f", about {duration(left)} left"
        return words


def duration(seconds: float) -> str:
    """Seconds in words, in at most two units.

    Example:
        >>> from lcat._progress import duration
        >>> duration(0.2), duration(75), duration(7300)
        ('0 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    for size, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"
