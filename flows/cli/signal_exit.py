"""End a command on SIGTERM and Ctrl-C with the status of that signal, whatever fails or is caught on the way out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STATUS_OFFSET = 128  # the exit status of a command that a signal has ended is this plus the signal's number
REPEAT_SECONDS = 0.01


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Exit from the block on SIGTERM (status 143) and SIGINT (status 130), so that everything is closed on the way."""
    requested_statuses: list[int] = []

    def request_exit(signal_number: int, _frame: FrameType | None) -> None:
        requested_statuses.append(STATUS_OFFSET + signal_number)
        sys.exit(requested_statuses[0])

    def repeat_exit_request(_signal_number: int, _frame: FrameType | None) -> None:
        sys.exit(requested_statuses[0])

    def handle_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
        if requested_statuses and isinstance(unraisable.exc_value, SystemExit):
            # the signal came during a finalizer or a callback, whose exceptions Python discards
            signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS)
        else:
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = handle_unraisable
    signal.signal(signal.SIGALRM, repeat_exit_request)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, request_exit)
    try:
        yield
    except BaseException:
        if not requested_statuses:
            raise
        sys.stderr.write("Interrupted. Run the same command again to continue.\n")
        sys.exit(requested_statuses[0])
