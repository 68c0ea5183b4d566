"""The manifest of the sample data: what each sample file is, by the hash of its bytes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from sandbox import get_samples_directory


@cache
def load_manifest() -> tuple[dict[str, Any], ...]:
    """Return the manifest's rows, in the order of their paths."""
    text = (get_samples_directory() / "manifest.jsonl").read_text(encoding="utf-8")
    return tuple(json.loads(row) for row in text.splitlines())


@cache
def load_manifest_by_sha256() -> dict[str, dict[str, Any]]:
    """Return the manifest's rows by SHA-256."""
    return {row["sha256"]: row for row in load_manifest()}
