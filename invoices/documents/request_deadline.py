"""The time that a child process may take for one request: by processor time, and by the time that it does nothing.

The clock on the wall decides nothing: a laptop is closed, a container is frozen, or a busy machine lets a process wait
for its turn. What counts is the processor time of the child, and the time in which it neither computes nor waits for a
processor while this process is running to see it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

_MIN_TICK_SECONDS, _MAX_TICK_SECONDS = 0.01, 0.1
_MAX_LATENESS_SECONDS = 1.0  # a tick that ends later was interrupted by a suspension, or by others' work
_MAX_STRETCH = 20
_CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_RUNNABLE_STATE = "R"  # proc_pid_stat(5): running, or ready to run


@dataclass(frozen=True, slots=True)
class ProcessActivity:
    """The processor time that a process has used, and whether it computes or waits for a processor."""

    cpu_seconds: float
    is_runnable: bool


class RequestDeadline:
    """The remaining time of one request; ``count_tick`` is called after each wait of at most ``tick_seconds``.

    It may use ``seconds`` of processor time, may be idle for ``seconds``, and may take twenty times as long on a
    machine that is busy with other work.
    """

    def __init__(
        self,
        seconds: float,
        read_activity: Callable[[], ProcessActivity | None],
        read_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tick_seconds = min(max(seconds / 10, _MIN_TICK_SECONDS), _MAX_TICK_SECONDS)
        self._seconds = seconds
        self._read_activity = read_activity
        self._read_clock = read_clock
        self._idle_seconds = self._total_seconds = 0.0
        self._first_cpu_seconds: float | None = None
        self._is_cpu_time_used_up = False
        self._tick_started = 0.0

    @property
    def is_expired(self) -> bool:
        """Whether the request has used up its time."""
        return (
            self._is_cpu_time_used_up
            or self._idle_seconds >= self._seconds
            or self._total_seconds >= _MAX_STRETCH * self._seconds
        )

    def start_tick(self) -> None:
        """Note when a wait begins."""
        self._tick_started = self._read_clock()

    def count_tick(self, *, is_ready: bool) -> None:
        """Count the wait that ends now; one after which the child was ready costs no look at the process."""
        elapsed_seconds = self._read_clock() - self._tick_started
        was_interrupted = elapsed_seconds > self.tick_seconds + _MAX_LATENESS_SECONDS
        counted_seconds = self.tick_seconds if was_interrupted else elapsed_seconds
        self._total_seconds += counted_seconds
        activity = None if is_ready else self._read_activity()
        if activity is None:  # it has sent something, or has ended, which the closed pipe shows
            return
        if self._first_cpu_seconds is None:
            self._first_cpu_seconds = activity.cpu_seconds
        self._is_cpu_time_used_up = activity.cpu_seconds - self._first_cpu_seconds >= self._seconds
        if not activity.is_runnable:
            self._idle_seconds += counted_seconds


def read_process_activity(pid: int) -> ProcessActivity | None:
    """Return what a process is doing, None if it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before it may contain anything
    except (FileNotFoundError, ProcessLookupError):
        return None
    user_ticks, system_ticks = int(fields[11]), int(fields[12])
    return ProcessActivity((user_ticks + system_ticks) / _CLOCK_TICKS_PER_SECOND, fields[0] == _RUNNABLE_STATE.encode())
