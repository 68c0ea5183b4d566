"""Which leaf of a mail is a part, which a body, and which part is left out as no invoice, by rule."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from PIL import Image, UnidentifiedImageError

from invoices.documents.sniffing import EMPTY, EXECUTABLE, UNKNOWN, media_type
from invoices.documents.unwrapping.mail_names import disposition, file_names
from invoices.documents.unwrapping.mail_structure import Leaf
from invoices.documents.unwrapping.mail_words import decoded_text
from invoices.documents.unwrapping.signed import open_signed
from invoices.documents.vocabulary import reads_like_an_invoice
from invoices.errors import DocumentError

MIN_SIDE, MIN_PIXELS = 200, 120_000  # a smaller picture holds no invoice, as in ``documents.image_documents``
BANNER, BANNER_HEIGHT = 4, 400  # a picture so many times wider than high, and no higher than that, is one

_TINY_SIDE, _TINY_PIXELS = 48, 10_000
_PHOTO_PIXELS = 2_000_000
_BODIES = frozenset({
    "text/plain", "text/html", "text/enriched", "text/richtext", "text/x-amp-html", "text/watch-html", "text/markdown",
})  # fmt: skip
_TEXTS = frozenset({"text/plain", "text/html", "message/rfc822", UNKNOWN, EMPTY})  # what any text may be taken for
_LEFT_OUT = {
    "text/calendar": "calendar", "application/ics": "calendar", ".ics": "calendar",
    "text/vcard": "contact_card", "text/x-vcard": "contact_card", "text/directory": "contact_card",
    ".vcf": "contact_card",
    "application/pkcs7-signature": "signature", "application/x-pkcs7-signature": "signature",
    "application/pgp-signature": "signature", "application/pgp-keys": "signature", ".p7s": "signature",
    "message/delivery-status": "delivery_report", "message/disposition-notification": "delivery_report",
    "message/global-delivery-status": "delivery_report", "message/feedback-report": "delivery_report",
    "text/rfc822-headers": "delivery_report", "message/rfc822-headers": "delivery_report",
}  # fmt: skip
_REFERENCE = re.compile(rb"cid:([^\"'\s<>)]{1,250})", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,5000}>")
_CODE, _CODE_END = re.compile(r"<(?:style|script)\b", re.IGNORECASE), re.compile(r"</(?:style|script)\b", re.IGNORECASE)
_EINVOICE = re.compile(rb"<\?xml|<(?:[\w.-]{1,40}:)?(?:Invoice|CreditNote|CrossIndustry\w{0,20})[\s>]")
_FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
_READ_OF_BODY = 300_000  # bytes
_SEARCHED_FOR_REFERENCES = 2_000_000  # bytes
_READ_OF_PICTURE = 1_000_000  # bytes in which its size must stand


@dataclass(frozen=True, slots=True)
class Seen:
    """A leaf with what is known of it."""

    leaf: Leaf
    names: Sequence[str]
    declared: str
    content_type: str
    is_body: bool

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture, by its content, or by its word (SVG is XML by content)."""
        return self.content_type.startswith("image/") or (
            self.declared.startswith("image/") and self.content_type in {"application/xml", UNKNOWN}
        )

    @property
    def content_id(self) -> str:
        """What the text of the mail calls the part, or nothing."""
        return str(self.leaf.entity.get("content-id", ""))[:300].strip(" \t<>").lower()


def look(leaf: Leaf) -> Seen | None:
    """Return what a leaf is, None for a text or an unnamed part without content."""
    names = file_names(leaf.entity)
    declared = leaf.entity.declared_type()
    content_type = media_type(leaf.content)
    is_link = declared == "message/external-body"  # what it links to is never fetched (B-18)
    is_attached = not is_link and (bool(names) or disposition(leaf.entity) == "attachment")
    if not is_attached and not leaf.content.strip():
        return None
    is_body = is_link or (not is_attached and _is_body(leaf, declared, content_type))
    return Seen(leaf, names, declared, content_type, is_body)


def left_out(found: Sequence[Seen]) -> list[str | None]:
    """Return for each why it is no invoice, a key of ``parts.LEFT_OUT``, or None."""
    codes = [None if one.is_body else _by_type(one) for one in found]
    references = _references(found)
    sizes = [_size(one.leaf.content) if one.is_picture else None for one in found]
    has_document = any(
        _is_document(one, size, references)
        for one, code, size in zip(found, codes, sizes, strict=True)
        if code is None and not one.is_body
    )
    return [
        code or ("decoration" if _is_decoration(one, size, references, has_document) else None)
        for one, code, size in zip(found, codes, sizes, strict=True)
    ]


def invoice_body(found: Sequence[Seen]) -> Seen | None:
    """Return the text of the mail that reads like an invoice, HTML before plain; None where none does."""
    texts = (one for one in found if one.is_body and one.declared in _BODIES)
    bodies = sorted(texts, key=lambda one: one.declared != "text/html")
    return next((one for one in bodies if reads_like_an_invoice(body_text(one))), None)


def body_text(body: Seen) -> str:
    """Return the words of a text, without the tags of HTML; only its first 300 KB are read."""
    charset = str(body.leaf.entity.get_param("charset", "utf-8"))
    text = decoded_text(body.leaf.content[:_READ_OF_BODY], charset[:100])
    return html.unescape(_TAG.sub(" ", _without_code(text))) if "html" in body.declared else text


def _without_code(text: str) -> str:
    """Return HTML without styles and scripts, whose numbers look like amounts."""
    first, *others = _CODE.split(text)
    return first + " ".join("".join(_CODE_END.split(other, maxsplit=1)[1:]) for other in others)


def _is_body(leaf: Leaf, declared: str, content_type: str) -> bool:
    """Return whether an unnamed part is text to be read in the mail, and its content nothing else."""
    if declared not in _BODIES and not (leaf.entity.has_multipart_type() and content_type in _TEXTS):
        return False
    head = leaf.content[:200].lstrip()
    return (
        content_type in _TEXTS
        or (content_type == "application/xml" and (declared == "text/html" or not _EINVOICE.match(head)))
        or (content_type == EXECUTABLE and head.startswith(b"#!"))
        or content_type == "application/postscript"
    )


def _by_type(one: Seen) -> str | None:
    """Return the code of a type that never holds an invoice; a document under such a type is none of them."""
    names = [name.lower().rstrip(" .\0") for name in one.names[:1]]
    extensions = [name[name.rfind(".") :] for name in names if "." in name]
    code = next((_LEFT_OUT[word] for word in (one.declared, *extensions) if word in _LEFT_OUT), None)
    is_bare = code == "signature" and one.content_type == "application/pkcs7-mime" and not _holds_content(one)
    return code if one.content_type in _TEXTS or is_bare else None


def _holds_content(one: Seen) -> bool:
    """Return whether signed data brings along what was signed: then it is opened, whatever it is called."""
    try:
        open_signed(one.leaf.content)
    except DocumentError:
        return False
    return True


def _references(found: Sequence[Seen]) -> set[str]:
    htmls = (one for one in found if one.is_body and one.declared == "text/html")
    texts = (one.leaf.content[:_SEARCHED_FOR_REFERENCES] for one in htmls)
    return {
        unquote(match[1].decode("ascii", "replace")).lower() for text in texts for match in _REFERENCE.finditer(text)
    }


def _size(content: bytes) -> tuple[int, int] | None:
    """Return width and height as the header of a picture states them, None where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs: no pixel is decoded here
            with Image.open(io.BytesIO(content[:_READ_OF_PICTURE]), formats=_FORMATS) as picture:
                return picture.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, EOFError):
        return None


def _is_small(size: tuple[int, int] | None) -> bool:
    if size is None:
        return False
    width, height = size
    return min(size) < MIN_SIDE or width * height < MIN_PIXELS or BANNER * height < width <= BANNER * BANNER_HEIGHT


def _is_photo(size: tuple[int, int] | None) -> bool:
    return size is not None and size[0] * size[1] >= _PHOTO_PIXELS and not _is_small(size)


def _is_document(one: Seen, size: tuple[int, int] | None, references: set[str]) -> bool:
    if one.is_picture:
        return not _is_small(size) and one.content_id not in references and size is not None
    return one.content_type not in {"text/plain", "text/html", EMPTY}


def _is_decoration(one: Seen, size: tuple[int, int] | None, references: set[str], has_document: bool) -> bool:
    """Return whether a picture belongs to the text: a photo of a receipt may too, where there is nothing else.

    A mail program shows every photo in the text; one as large as a camera makes them is a document all the same.
    """
    if one.is_body or not one.is_picture:
        return False
    if has_document:
        return _is_small(size) or (one.content_id in references and not _is_photo(size))
    return size is not None and (min(size) < _TINY_SIDE or size[0] * size[1] < _TINY_PIXELS)
