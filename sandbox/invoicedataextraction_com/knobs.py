"""The knobs of this vendor, by their names in its contract sheet."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.knob import Knob

KNOBS: Mapping[str, Knob] = {}
