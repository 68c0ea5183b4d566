"""What a PDF would do if it were opened by a program that lets it: actions, links, programs inside; and traps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import pikepdf

MAX_PAGES = 200
MAX_ANNOTATIONS = 1_000
MAX_CHAIN = 20  # actions after one another
_HARMLESS = {"/GoTo", "/Named", "/Hide", "/SetOCGState", "/Trans", "/GoTo3DView", "/Thread"}


def actions(pdf: pikepdf.Pdf) -> set[str]:
    """Return the kinds of action that reach beyond the document (ISO 32000-2 §12.6.4): JavaScript, Launch, URI, …"""
    found: set[str] = set()
    root = pdf.Root
    found |= _kinds(root.get("/OpenAction")) | _additional(root)
    names = root.get("/Names")
    if isinstance(names, pikepdf.Dictionary) and "/JavaScript" in names:
        found.add("JavaScript")
    for holder in islice(_holders(pdf), MAX_PAGES + MAX_ANNOTATIONS):
        found |= _kinds(holder.get("/A")) | _additional(holder)
    return found


def trap(pdf: pikepdf.Pdf) -> str | None:
    """Return what of a PDF is made to attack its reader: a font's encoding that is a path (CVE-2025-64512)."""
    for page in islice(pdf.pages, MAX_PAGES):
        fonts = _dictionary(_dictionary(page.obj.get("/Resources")).get("/Font"))
        for name in islice(fonts.keys(), MAX_PAGES):
            encoding = _dictionary(fonts.get(name)).get("/Encoding")
            if isinstance(encoding, pikepdf.Name) and ("/" in str(encoding)[1:] or ".." in str(encoding)):
                return f"a font's encoding is a path: {str(encoding)[:80]!r}"
    return None


def switched_off_layers(pdf: pikepdf.Pdf) -> int:
    """Return how many layers (optional content) are not shown."""
    layers = _dictionary(_dictionary(pdf.Root.get("/OCProperties")).get("/D")).get("/OFF")
    return len(layers) if isinstance(layers, pikepdf.Array) else 0


def _holders(pdf: pikepdf.Pdf) -> Iterator[pikepdf.Object]:
    """Yield what may carry an action: pages and what is on them."""
    for page in islice(pdf.pages, MAX_PAGES):
        yield page.obj
        yield from _dictionaries(page.obj.get("/Annots"))


def _dictionaries(array: object) -> Iterable[pikepdf.Object]:
    if not isinstance(array, pikepdf.Array):
        return
    for index in range(min(len(array), MAX_ANNOTATIONS)):
        if isinstance(entry := array[index], pikepdf.Dictionary):
            yield entry


def _additional(holder: pikepdf.Object) -> set[str]:
    triggers = _dictionary(holder.get("/AA"))
    return {kind for name in islice(triggers.keys(), MAX_CHAIN) for kind in _kinds(triggers.get(name))}


def _kinds(action: object) -> set[str]:
    """Return the kinds of an action and of those after it."""
    kinds: set[str] = set()
    for _ in range(MAX_CHAIN):
        if not isinstance(action, pikepdf.Dictionary):
            break
        kind = str(action.get("/S", ""))
        if kind and kind not in _HARMLESS:
            kinds.add(kind.lstrip("/")[:20])
        action = action.get("/Next")
    return kinds


def _dictionary(found: object) -> pikepdf.Object:
    return found if isinstance(found, pikepdf.Dictionary) else pikepdf.Dictionary()
