"""An XML tree that is safe to walk: no DTD, no entities, no network, not too deep, names without their namespaces."""

from __future__ import annotations

import codecs
import datetime as dt
import re
from collections.abc import Iterator

from lxml import etree

from invoices.documents.einvoice.values import Record, iso_date, only_one
from invoices.errors import DocumentError

MAX_BYTES = 30 * 1024 * 1024
MAX_DEPTH = 100
MAX_ELEMENTS = 500_000

Element = etree._Element

_DECLARATION = re.compile(rb"\s*<\?xml\b[^>]{0,200}\?>")
_BEFORE_ROOT = re.compile(rb"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_FORMATS = {"102": "%Y%m%d", "203": "%Y%m%d%H%M", "204": "%Y%m%d%H%M%S"}


def parse_xml(content: bytes) -> Element:
    """Return the root of a document that somebody sent us; comments and processing instructions are left out.

    Raises DocumentError: ``hostile_xml`` for a document type, UTF-7 or a tree too deep, ``too_large`` past 30 MB
    or 500,000 elements, ``malformed_xml`` for anything a strict parser refuses. Only a broken XML
    declaration is forgiven.
    """
    if len(content) > MAX_BYTES:
        raise DocumentError(f"the XML has {len(content)} bytes, more than {MAX_BYTES}", reason_code="too_large")
    _refuse_document_type(_as_ascii(content[:200_000]))
    try:
        root = _strictly_parsed(content)
    except etree.XMLSyntaxError as error:
        root = _parsed_without_declaration(content, error)
    doctype = root.getroottree().docinfo
    if doctype.internalDTD is not None or doctype.doctype:
        raise DocumentError("the XML declares a document type", reason_code="hostile_xml")
    return root


def local_name(element: Element) -> str:
    """Return the element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def namespace(element: Element) -> str:
    """Return the element's namespace, or an empty string."""
    return str(element.tag).rpartition("}")[0].lstrip("{")


def drop_namespaces(root: Element, renamed: dict[str, str] | None = None) -> None:
    """Rename every element to its local name (then through ``renamed``): prefixes and versions do not matter."""
    for element in root.iter("*"):
        name = local_name(element)
        element.tag = renamed.get(name, name) if renamed else name


def text(element: Element | None, path: str = ".") -> str | None:
    """Return the trimmed text at ``path``, None where there is none."""
    found = None if element is None else element.find(path)
    value = "" if found is None else (found.text or "").strip()
    return value or None


def texts(element: Element, path: str) -> Iterator[str]:
    """Yield the non-empty trimmed texts at ``path``."""
    for found in element.iterfind(path):
        value = (found.text or "").strip()
        if value:
            yield value


def date(element: Element | None, path: str) -> str | None:
    """Return the date at ``path`` as YYYY-MM-DD where its format or ISO 8601 says how to read it, else as it stands.

    Formats are those of UNTDID 2379 that name a day: 102, 203 and 204.
    """
    found = None if element is None else element.find(path)
    value = None if found is None else text(found)
    if found is None or value is None:
        return None
    code = (found.get("format") or "").strip()
    if code not in _FORMATS:
        return value if code and "-" not in value else iso_date(value)
    try:
        return dt.datetime.strptime(value, _FORMATS[code]).date().isoformat()  # noqa: DTZ007 - a day has no time zone
    except ValueError:
        return iso_date(value)


def tax_totals(amounts: list[Element], currency: str | None) -> Record:
    """Return BT-110 (document currency) and BT-111 (accounting currency), told apart by their currency."""
    other = [amount for amount in amounts if amount.get("currencyID", currency) != currency]
    own = [amount for amount in amounts if amount not in other]
    if not own and len(other) == 1:
        own, other = other, []
    return {
        "tax_total": text(own[0]) if own else None,
        "tax_total_in_tax_currency": text(other[0]) if other else None,
    }


def currency_of_amounts(parent: Element | None) -> str | None:
    """Return the one currency that the amounts below state, for a document that leaves its currency code (BT-5) out."""
    amounts = [] if parent is None else parent.findall(".//*[@currencyID]")
    stated = [amount.get("currencyID", "").strip() for amount in amounts]
    return only_one([currency for currency in stated if currency])


def drop_absent(record: Record) -> Record:
    """Return the record without its absent values: what a document does not state is no key."""
    return {key: value for key, value in record.items() if value not in (None, [], {})}


def _strictly_parsed(content: bytes) -> Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True, collect_ids=False,
    )
    root = etree.fromstring(content, parser)
    _refuse_extremes(root)
    return root


def _parsed_without_declaration(content: bytes, error: etree.XMLSyntaxError) -> Element:
    bare = content.removeprefix(codecs.BOM_UTF8)
    declaration = _DECLARATION.match(bare)
    if declaration:
        try:
            return _strictly_parsed(bare[declaration.end() :])
        except etree.XMLSyntaxError:
            pass
    if "Excessive depth" in str(error):
        raise DocumentError("the XML nests too deep", reason_code="hostile_xml") from error
    raise DocumentError(f"not well-formed XML: {error}", reason_code="malformed_xml") from error


def _refuse_extremes(root: Element) -> None:
    """Raise ``hostile_xml`` where the tree is deeper than MAX_DEPTH, ``too_large`` past MAX_ELEMENTS elements."""
    level, depth, total = [root], 0, 0
    while level:
        depth, total = depth + 1, total + len(level)
        if depth > MAX_DEPTH:
            raise DocumentError(f"the XML nests deeper than {MAX_DEPTH}", reason_code="hostile_xml")
        if total > MAX_ELEMENTS:
            raise DocumentError(f"the XML has more than {MAX_ELEMENTS} elements", reason_code="too_large")
        level = [child for element in level for child in element]


def _as_ascii(head: bytes) -> bytes:
    """Return the start of the document with one byte per character, whatever Unicode encoding it is in."""
    for bom in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if head.startswith(bom):
            return head[len(bom) :].replace(b"\0", b"")
    return head.removeprefix(codecs.BOM_UTF8).replace(b"\0", b"")


def _refuse_document_type(head: bytes) -> None:
    """Raise ``hostile_xml`` for a DOCTYPE before the root element, or for an encoding that hides markup."""
    declaration = _DECLARATION.match(head)
    if declaration and b"utf-7" in declaration.group().lower():
        raise DocumentError("the XML is declared as UTF-7", reason_code="hostile_xml")
    position = 0
    while match := _BEFORE_ROOT.match(head, position):
        position = match.end()
    if head[position : position + 9].upper() == b"<!DOCTYPE":
        raise DocumentError("the XML declares a document type", reason_code="hostile_xml")
