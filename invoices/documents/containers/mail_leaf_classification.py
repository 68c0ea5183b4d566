"""Which leaf of a mail is a document or a body text, and which document is skipped by rule because it is no invoice."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from PIL import Image, UnidentifiedImageError

from invoices.documents.containers.cms_signed_file import open_cms_signed_file
from invoices.documents.containers.mail_encoded_words import decode_text_leniently
from invoices.documents.containers.mail_file_names import get_disposition, list_file_names
from invoices.documents.containers.mime_tree import MimeLeaf
from invoices.documents.content_sniffing import EMPTY_TYPE, EXECUTABLE_TYPE, UNKNOWN_TYPE, detect_media_type
from invoices.documents.text_classification import has_invoice_word_and_amount
from invoices.errors import DocumentError

MIN_SIDE_PIXELS, MIN_PIXELS = 200, 120_000  # a smaller picture shows no invoice, as in ``documents.image_reader``
MIN_BANNER_ASPECT_RATIO, MAX_BANNER_HEIGHT_PIXELS = 4, 400  # a picture wider than that and no higher is a banner

_TINY_SIDE_PIXELS, _TINY_PIXELS = 48, 10_000
_MIN_PAGE_PIXELS = 400_000  # A4 at 65 dpi: below, no invoice is legible
_MIN_SIDEWAYS_PAGE_PIXELS = 900_000  # A4 at 96 dpi; smaller pictures that are wider than high illustrate a text
_MAX_PAGE_ASPECT_RATIO = 1.8  # width by height: pages, till receipts and photos, but no wide picture of a newsletter
_BODY_TYPES = frozenset({
    "text/plain", "text/html", "text/enriched", "text/richtext", "text/x-amp-html", "text/watch-html", "text/markdown",
})  # fmt: skip
# The types by content that any text may have.
_TEXT_TYPES = frozenset({"text/plain", "text/html", "message/rfc822", UNKNOWN_TYPE, EMPTY_TYPE})
_SKIP_CODE_BY_TYPE = {
    "text/calendar": "calendar", "application/ics": "calendar", ".ics": "calendar",
    "text/vcard": "contact_card", "text/x-vcard": "contact_card", "text/directory": "contact_card",
    ".vcf": "contact_card",
    "application/pkcs7-signature": "signature", "application/x-pkcs7-signature": "signature",
    "application/pgp-signature": "signature", "application/pgp-keys": "signature", ".p7s": "signature",
    "message/delivery-status": "delivery_report", "message/disposition-notification": "delivery_report",
    "message/global-delivery-status": "delivery_report", "message/feedback-report": "delivery_report",
    "text/rfc822-headers": "delivery_report", "message/rfc822-headers": "delivery_report",
}  # fmt: skip
_CONTENT_ID_REFERENCE = re.compile(rb"cid:([^\"'\s<>)]{1,250})", re.IGNORECASE)
_HTML_TAG = re.compile(r"<[^<>]{0,5000}>")
_STYLE_OR_SCRIPT_START = re.compile(r"<(?:style|script)\b", re.IGNORECASE)
_STYLE_OR_SCRIPT_END = re.compile(r"</(?:style|script)\b", re.IGNORECASE)
_EINVOICE_START = re.compile(rb"<\?xml|<(?:[\w.-]{1,40}:)?(?:Invoice|CreditNote|CrossIndustry\w{0,20})[\s>]")
_IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
_MAX_BODY_BYTES = 300_000
_MAX_REFERENCE_SEARCH_BYTES = 2_000_000
_MAX_IMAGE_HEADER_BYTES = 1_000_000  # the size of a picture is stated within these


@dataclass(frozen=True, slots=True)
class ClassifiedLeaf:
    """A leaf with its names, its declared type, its type by content, and whether it is a body text."""

    leaf: MimeLeaf
    file_names: Sequence[str]
    declared_type: str
    content_type: str
    is_body: bool

    @property
    def is_image(self) -> bool:
        """Whether the leaf is a picture by content, or by declaration (SVG is XML by content)."""
        return self.content_type.startswith("image/") or (
            self.declared_type.startswith("image/") and self.content_type in {"application/xml", UNKNOWN_TYPE}
        )

    @property
    def content_id(self) -> str:
        """The id by which the text of the mail refers to the part, or an empty string."""
        return str(self.leaf.entity.get("content-id", ""))[:300].strip(" \t<>").lower()


def classify_leaf(leaf: MimeLeaf) -> ClassifiedLeaf | None:
    """Return the classification of a leaf, None for a text or an unnamed part without content."""
    file_names = list_file_names(leaf.entity)
    declared_type = leaf.entity.get_declared_type()
    content_type = detect_media_type(leaf.content)
    is_link = declared_type == "message/external-body"  # what it links to is never fetched (B-18)
    is_attached = not is_link and (bool(file_names) or get_disposition(leaf.entity) == "attachment")
    if not is_attached and not leaf.content.strip():
        return None
    is_body = is_link or (not is_attached and _is_body_text(leaf, declared_type, content_type))
    return ClassifiedLeaf(leaf, file_names, declared_type, content_type, is_body)


def list_skip_reason_codes(classified_leaves: Sequence[ClassifiedLeaf]) -> list[str | None]:
    """Return for each leaf why it is no invoice, a key of ``NOT_INVOICE_REASONS``, or None."""
    codes = [
        None if classified_leaf.is_body else _find_skip_code_by_type(classified_leaf)
        for classified_leaf in classified_leaves
    ]
    references = _extract_content_id_references(classified_leaves)
    image_sizes = [
        _read_image_size(classified_leaf.leaf.content) if classified_leaf.is_image else None
        for classified_leaf in classified_leaves
    ]
    has_document = any(
        _is_document_leaf(classified_leaf, image_size, references)
        for classified_leaf, code, image_size in zip(classified_leaves, codes, image_sizes, strict=True)
        if code is None and not classified_leaf.is_body
    )
    return [
        code or ("decoration" if _is_decoration_image(classified_leaf, image_size, references, has_document) else None)
        for classified_leaf, code, image_size in zip(classified_leaves, codes, image_sizes, strict=True)
    ]


def find_invoice_body(classified_leaves: Sequence[ClassifiedLeaf]) -> ClassifiedLeaf | None:
    """Return the text of the mail that reads like an invoice, HTML before plain; None if none does."""
    text_leaves = (
        classified_leaf
        for classified_leaf in classified_leaves
        if classified_leaf.is_body and classified_leaf.declared_type in _BODY_TYPES
    )
    bodies = sorted(text_leaves, key=lambda classified_leaf: classified_leaf.declared_type != "text/html")
    return next((body for body in bodies if has_invoice_word_and_amount(extract_body_text(body))), None)


def extract_body_text(body: ClassifiedLeaf) -> str:
    """Return a body text without HTML tags, from its first 300 KB."""
    charset = str(body.leaf.entity.get_param("charset", "utf-8"))
    text = decode_text_leniently(body.leaf.content[:_MAX_BODY_BYTES], charset[:100])
    return html.unescape(_HTML_TAG.sub(" ", _strip_styles_and_scripts(text))) if "html" in body.declared_type else text


def _strip_styles_and_scripts(text: str) -> str:
    """Return HTML without styles and scripts, whose numbers look like amounts."""
    leading_text, *fragments = _STYLE_OR_SCRIPT_START.split(text)
    return leading_text + " ".join(
        "".join(_STYLE_OR_SCRIPT_END.split(fragment, maxsplit=1)[1:]) for fragment in fragments
    )


def _is_body_text(leaf: MimeLeaf, declared_type: str, content_type: str) -> bool:
    """Return whether an unnamed part is a text to read in the mail, by its declared type and its content."""
    if declared_type not in _BODY_TYPES and not (leaf.entity.has_multipart_type() and content_type in _TEXT_TYPES):
        return False
    head = leaf.content[:200].lstrip()
    return (
        content_type in _TEXT_TYPES
        or (content_type == "application/xml" and (declared_type == "text/html" or not _EINVOICE_START.match(head)))
        or (content_type == EXECUTABLE_TYPE and head.startswith(b"#!"))
        or content_type == "application/postscript"
    )


def _find_skip_code_by_type(classified_leaf: ClassifiedLeaf) -> str | None:
    """Return the code of a type that never contains an invoice; None if the content is a document after all."""
    names = [name.lower().rstrip(" .\0") for name in classified_leaf.file_names[:1]]
    extensions = [name[name.rfind(".") :] for name in names if "." in name]
    codes = map(_SKIP_CODE_BY_TYPE.get, (classified_leaf.declared_type, *extensions))
    code = next(filter(None, codes), None)
    is_bare_signature = (
        code == "signature"
        and classified_leaf.content_type == "application/pkcs7-mime"
        and not _has_signed_content(classified_leaf)
    )
    return code if classified_leaf.content_type in _TEXT_TYPES or is_bare_signature else None


def _has_signed_content(classified_leaf: ClassifiedLeaf) -> bool:
    """Return whether signed data includes the signed content; then it is opened, whatever its name."""
    try:
        open_cms_signed_file(classified_leaf.leaf.content)
    except DocumentError:
        return False
    return True


def _extract_content_id_references(classified_leaves: Sequence[ClassifiedLeaf]) -> set[str]:
    html_leaves = (
        classified_leaf
        for classified_leaf in classified_leaves
        if classified_leaf.is_body and classified_leaf.declared_type == "text/html"
    )
    texts = (classified_leaf.leaf.content[:_MAX_REFERENCE_SEARCH_BYTES] for classified_leaf in html_leaves)
    return {
        unquote(match[1].decode("ascii", "replace")).lower()
        for text in texts
        for match in _CONTENT_ID_REFERENCE.finditer(text)
    }


def _read_image_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height as the header of a picture states them, None if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs; no pixel is decoded here
            with Image.open(io.BytesIO(content[:_MAX_IMAGE_HEADER_BYTES]), formats=_IMAGE_FORMATS) as image:
                return image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, EOFError):
        return None


def _is_small_image(size: tuple[int, int] | None) -> bool:
    if size is None:
        return False
    width, height = size
    return (
        min(size) < MIN_SIDE_PIXELS
        or width * height < MIN_PIXELS
        or MIN_BANNER_ASPECT_RATIO * height < width <= MIN_BANNER_ASPECT_RATIO * MAX_BANNER_HEIGHT_PIXELS
    )


def _may_be_page(size: tuple[int, int] | None) -> bool:
    """Return whether a picture has the size and the shape of a scanned or photographed page."""
    if size is None:
        return False
    width, height = size
    min_pixels = _MIN_PAGE_PIXELS if height >= width else _MIN_SIDEWAYS_PAGE_PIXELS
    return width * height >= min_pixels and width <= _MAX_PAGE_ASPECT_RATIO * height


def _is_document_leaf(classified_leaf: ClassifiedLeaf, size: tuple[int, int] | None, references: set[str]) -> bool:
    """Return whether a leaf is a document beside which small or referenced pictures are decoration."""
    if classified_leaf.is_image:
        return not _is_small_image(size) and classified_leaf.content_id not in references and size is not None
    return classified_leaf.content_type not in {"text/plain", "text/html", EMPTY_TYPE}


def _is_decoration_image(
    classified_leaf: ClassifiedLeaf, size: tuple[int, int] | None, references: set[str], has_document: bool
) -> bool:
    """Return whether a picture belongs to the text; without another document, only a tiny one does.

    Mail programs show every picture in the text, also a scan or a photo of an invoice, so one with the size and the
    shape of a page is a document even if the text refers to it. A paid page costs less than a lost invoice.
    """
    if classified_leaf.is_body or not classified_leaf.is_image:
        return False
    if has_document:
        return _is_small_image(size) or (classified_leaf.content_id in references and not _may_be_page(size))
    return size is not None and (min(size) < _TINY_SIDE_PIXELS or size[0] * size[1] < _TINY_PIXELS)
