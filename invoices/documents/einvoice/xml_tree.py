"""Safe parsing of untrusted XML (no DTD, entities or network; bounded depth), and reading of values from the tree."""

from __future__ import annotations

import codecs
import datetime as dt
import re
from collections.abc import Iterator

from lxml import etree

from invoices.documents.einvoice.payload_values import Record, find_single_distinct_value, normalise_iso_date
from invoices.errors import DocumentError

MAX_XML_BYTES = 30 * 1024 * 1024
MAX_DEPTH = 100
MAX_ELEMENTS = 500_000

Element = etree._Element

_XML_DECLARATION = re.compile(rb"\s*<\?xml\b[^>]{0,200}\?>")
_MARKUP_BEFORE_ROOT = re.compile(rb"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_DATE_FORMATS = {"102": "%Y%m%d", "203": "%Y%m%d%H%M", "204": "%Y%m%d%H%M%S"}
_DATE_DIGITS = {"102": 8, "203": 12, "204": 14}


def parse_untrusted_xml(content: bytes) -> Element:
    """Return the root of an untrusted document, without comments and processing instructions.

    Raises DocumentError: ``hostile_xml`` for a document type, UTF-7 or a tree too deep, ``too_large`` past 30 MB or
    500,000 elements, ``malformed_xml`` for anything a strict parser refuses. Only an invalid XML declaration is
    tolerated.
    """
    if len(content) > MAX_XML_BYTES:
        raise DocumentError(f"the XML has {len(content)} bytes, more than {MAX_XML_BYTES}", reason_code="too_large")
    _refuse_doctype_and_utf7(_convert_to_single_byte_chars(content[:200_000]))
    try:
        root = _parse_strictly(content)
    except etree.XMLSyntaxError as error:
        root = _parse_without_declaration(content, error)
    document_info = root.getroottree().docinfo
    if document_info.internalDTD is not None or document_info.doctype:
        raise DocumentError("the XML declares a document type", reason_code="hostile_xml")
    return root


def get_local_name(element: Element) -> str:
    """Return the element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def get_namespace(element: Element) -> str:
    """Return the element's namespace, or an empty string."""
    return str(element.tag).rpartition("}")[0].lstrip("{")


def drop_namespaces(root: Element, new_names: dict[str, str] | None = None) -> None:
    """Rename every element to its local name, then by ``new_names``, so that prefixes and versions do not matter."""
    for element in root.iter("*"):
        name = get_local_name(element)
        element.tag = new_names.get(name, name) if new_names else name


def find_text(element: Element | None, path: str = ".") -> str | None:
    """Return the trimmed text at ``path``, None if there is none."""
    node = None if element is None else element.find(path)
    value = "" if node is None else (node.text or "").strip()
    return value or None


def iter_texts(element: Element, path: str) -> Iterator[str]:
    """Yield the non-empty trimmed texts at ``path``."""
    for node in element.iterfind(path):
        value = (node.text or "").strip()
        if value:
            yield value


def find_date(element: Element | None, path: str) -> str | None:
    """Return the date at ``path`` as YYYY-MM-DD if its format is stated or ISO 8601, else unchanged.

    Stated formats are those of UNTDID 2379 that name a day: 102, 203 and 204. Each has a fixed number of digits (rule
    CII-DT-097 for 102): `2026115` could be two days, so it stays a text that is no date.
    """
    node = None if element is None else element.find(path)
    value = None if node is None else find_text(node)
    if node is None or value is None:
        return None
    format_code = (node.get("format") or "").strip()
    if format_code not in _DATE_FORMATS:
        return value if format_code and "-" not in value else normalise_iso_date(value)
    if value.isdigit() and len(value) != _DATE_DIGITS[format_code]:
        return value
    try:
        return dt.datetime.strptime(value, _DATE_FORMATS[format_code]).date().isoformat()  # noqa: DTZ007 - a date has no time zone
    except ValueError:
        return normalise_iso_date(value)


def split_tax_totals_by_currency(amounts: list[Element], currency: str | None) -> Record:
    """Return BT-110 (document currency) and BT-111 (accounting currency), distinguished by their currency."""
    other_currency_amounts = [amount for amount in amounts if amount.get("currencyID", currency) != currency]
    own_currency_amounts = [amount for amount in amounts if amount not in other_currency_amounts]
    if not own_currency_amounts and len(other_currency_amounts) == 1:
        own_currency_amounts, other_currency_amounts = other_currency_amounts, []
    return {
        "tax_total": find_text(own_currency_amounts[0]) if own_currency_amounts else None,
        "tax_total_in_tax_currency": find_text(other_currency_amounts[0]) if other_currency_amounts else None,
    }


def find_common_currency(parent: Element | None) -> str | None:
    """Return the one currency of the amounts below, for a document without a currency code (BT-5)."""
    amounts = [] if parent is None else parent.findall(".//*[@currencyID]")
    currencies = [amount.get("currencyID", "").strip() for amount in amounts]
    return find_single_distinct_value([currency for currency in currencies if currency])


def drop_absent_values(record: Record) -> Record:
    """Return the record without the keys whose values are None or empty."""
    return {key: value for key, value in record.items() if value not in (None, [], {})}


def _parse_strictly(content: bytes) -> Element:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )
    root = etree.fromstring(content, parser)
    _refuse_oversized_tree(root)
    return root


def _parse_without_declaration(content: bytes, error: etree.XMLSyntaxError) -> Element:
    content_without_mark = content.removeprefix(codecs.BOM_UTF8)
    declaration = _XML_DECLARATION.match(content_without_mark)
    if declaration:
        try:
            return _parse_strictly(content_without_mark[declaration.end() :])
        except etree.XMLSyntaxError:
            pass
    if "Excessive depth" in str(error):
        raise DocumentError("the XML nests too deep", reason_code="hostile_xml") from error
    raise DocumentError(f"not well-formed XML: {error}", reason_code="malformed_xml") from error


def _refuse_oversized_tree(root: Element) -> None:
    """Raise ``hostile_xml`` if the tree is deeper than MAX_DEPTH, ``too_large`` past MAX_ELEMENTS elements."""
    level, depth, element_count = [root], 0, 0
    while level:
        depth, element_count = depth + 1, element_count + len(level)
        if depth > MAX_DEPTH:
            raise DocumentError(f"the XML nests deeper than {MAX_DEPTH} levels", reason_code="hostile_xml")
        if element_count > MAX_ELEMENTS:
            raise DocumentError(f"the XML has more than {MAX_ELEMENTS} elements", reason_code="too_large")
        level = [child for element in level for child in element]


def _convert_to_single_byte_chars(head: bytes) -> bytes:
    """Return the start of the document with one byte per character, for any Unicode encoding."""
    for byte_order_mark in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if head.startswith(byte_order_mark):
            return head[len(byte_order_mark) :].replace(b"\0", b"")
    return head.removeprefix(codecs.BOM_UTF8).replace(b"\0", b"")


def _refuse_doctype_and_utf7(head: bytes) -> None:
    """Raise ``hostile_xml`` for a DOCTYPE before the root element, or for an encoding that hides markup."""
    declaration = _XML_DECLARATION.match(head)
    if declaration and b"utf-7" in declaration.group().lower():
        raise DocumentError("the XML is declared as UTF-7", reason_code="hostile_xml")
    position = 0
    while match := _MARKUP_BEFORE_ROOT.match(head, position):
        position = match.end()
    if head[position : position + 9].upper() == b"<!DOCTYPE":
        raise DocumentError("the XML declares a document type", reason_code="hostile_xml")
