"""Active content of a PDF: its actions and links, hidden layers, and a known exploit by font encodings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

import pikepdf

MAX_PAGES = 200
MAX_ANNOTATIONS = 1_000
MAX_CHAINED_ACTIONS = 20
_HARMLESS_ACTIONS = {"/GoTo", "/Named", "/Hide", "/SetOCGState", "/Trans", "/GoTo3DView", "/Thread"}


def list_external_action_kinds(pdf: pikepdf.Pdf) -> set[str]:
    """Return the kinds of action that reach beyond the document (ISO 32000-2 §12.6.4): JavaScript, Launch, URI, …"""
    kinds: set[str] = set()
    root = pdf.Root
    kinds |= _list_risky_kinds_of_chained_actions(root.get("/OpenAction")) | _list_risky_kinds_of_triggered_actions(
        root
    )
    names = root.get("/Names")
    if isinstance(names, pikepdf.Dictionary) and "/JavaScript" in names:
        kinds.add("JavaScript")
    elements = chain.from_iterable(
        chain([page.obj], _list_dictionary_entries(page.obj.get("/Annots"))) for page in islice(pdf.pages, MAX_PAGES)
    )
    for element in islice(elements, MAX_PAGES + MAX_ANNOTATIONS):
        kinds |= _list_risky_kinds_of_chained_actions(element.get("/A")) | _list_risky_kinds_of_triggered_actions(
            element
        )
    return kinds


def find_font_path_exploit(pdf: pikepdf.Pdf) -> str | None:
    """Return a description of a font encoding that is a path (CVE-2025-64512), None if there is none."""
    for page in islice(pdf.pages, MAX_PAGES):
        fonts = _get_dictionary_or_empty(_get_dictionary_or_empty(page.obj.get("/Resources")).get("/Font"))
        for name in islice(fonts.keys(), MAX_PAGES):
            encoding = _get_dictionary_or_empty(fonts.get(name)).get("/Encoding")
            if isinstance(encoding, pikepdf.Name) and ("/" in str(encoding)[1:] or ".." in str(encoding)):
                return f"the encoding of a font is a path: {str(encoding)[:80]!r}"
    return None


def count_hidden_layers(pdf: pikepdf.Pdf) -> int:
    """Return how many layers (optional content) are not shown."""
    layers = _get_dictionary_or_empty(_get_dictionary_or_empty(pdf.Root.get("/OCProperties")).get("/D")).get("/OFF")
    return len(layers) if isinstance(layers, pikepdf.Array) else 0


def _list_dictionary_entries(array: object) -> Iterator[pikepdf.Object]:
    if not isinstance(array, pikepdf.Array):
        return
    for index in range(min(len(array), MAX_ANNOTATIONS)):
        if isinstance(entry := array[index], pikepdf.Dictionary):
            yield entry


def _list_risky_kinds_of_triggered_actions(element: pikepdf.Object) -> set[str]:
    triggers = _get_dictionary_or_empty(element.get("/AA"))
    return {
        kind
        for name in islice(triggers.keys(), MAX_CHAINED_ACTIONS)
        for kind in _list_risky_kinds_of_chained_actions(triggers.get(name))
    }


def _list_risky_kinds_of_chained_actions(action: object) -> set[str]:
    """Return the kinds of an action and of those that follow it."""
    kinds: set[str] = set()
    for _ in range(MAX_CHAINED_ACTIONS):
        if not isinstance(action, pikepdf.Dictionary):
            break
        kind = str(action.get("/S", ""))
        if kind and kind not in _HARMLESS_ACTIONS:
            kinds.add(kind.lstrip("/")[:20])
        action = action.get("/Next")
    return kinds


def _get_dictionary_or_empty(value: object) -> pikepdf.Object:
    return value if isinstance(value, pikepdf.Dictionary) else pikepdf.Dictionary()
