"""The process that opens untrusted containers: limited, without secrets or network; the bytes come and go by pipe.

Run as ``python -I -m invoices.documents.unwrapping.child <limits as JSON>``. A question is the line ``{"length": …,
"unpack_archives": …, "file_name": …}`` and that many bytes; the answer is a line with what was found and the length of
each part, and the bytes of the parts one after another. It ends with its input.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from typing import Any

from invoices.documents.child import Answered, Limits, confine, private_answers, serve_questions
from invoices.documents.outcomes import REASONS, shown
from invoices.documents.sniffing import HEAD, media_type
from invoices.documents.unwrapping.containers import unwrap
from invoices.documents.unwrapping.parts import Unwrapped

_RETIRE_AFTER = 20_000  # containers: what opens them is Python and does not leak
_LONGEST_REASON = 300
_YOUNG = 20_000  # objects that may pile up before Python looks for rubbish by itself: a mail makes some hundreds
_LEFT_BEHIND = 8 * 1024 * 1024  # bytes of containers after which we look: the tree of a mail refers to itself


def main(opened: Callable[[bytes, dict[str, Any]], Answered] | None = None) -> None:
    """Answer until the input ends; ``opened`` gives the answer about one container."""
    limits = Limits(**json.loads(sys.argv[1]))
    answers = private_answers()
    confine(limits)
    serve_questions(_tidily(lambda question: _answered(question, opened or _opened)), answers, limits, _RETIRE_AFTER)


def _tidily(answer_to: Callable[[dict[str, Any]], Answered]) -> Callable[[dict[str, Any]], Answered]:
    """Return ``answer_to`` with rubbish removed by the bytes that it holds; by objects alone that takes longer."""
    left_behind = 0

    def answered(question: dict[str, Any]) -> Answered:
        nonlocal left_behind
        if left_behind > _LEFT_BEHIND:
            gc.collect()
            left_behind = 0
        left_behind += question["length"]
        return answer_to(question)

    gc.freeze()
    gc.set_threshold(_YOUNG)
    return answered


def _answered(question: dict[str, Any], opened: Callable[[bytes, dict[str, Any]], Answered]) -> Answered:
    """Return the answer about the container that follows the question, and whether it is the last of this process."""
    try:
        return opened(sys.stdin.buffer.read(question["length"]), question)
    except MemoryError:
        return _broken("reader_memory", REASONS["reader_memory"][1])
    except Exception as error:  # noqa: BLE001 - whatever a parser raises about hostile bytes is an answer about them
        return _broken("reader_crashed", f"the reader failed with {type(error).__name__}: {error}")


def _opened(content: bytes, question: dict[str, Any]) -> Answered:
    kind = media_type(content[:HEAD])
    found, contents = unwrap(
        content, kind, file_name=question["file_name"], unpack_archives=question["unpack_archives"]
    )
    return Answered({"found": found, "lengths": [len(part) for part in contents]}, contents)


def _broken(reason_code: str, reason: str) -> Answered:
    found = Unwrapped(reason_code=reason_code, reason=shown(reason, _LONGEST_REASON))
    return Answered({"found": found, "lengths": []}, is_last=True)


if __name__ == "__main__":
    main()
