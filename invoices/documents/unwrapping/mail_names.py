"""The file name of a part, as its headers give it, and what is odd about name, declared type and content."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from email.message import Message

from invoices.documents.sniffing import EXECUTABLE
from invoices.documents.unwrapping.mail_structure import Entity
from invoices.documents.unwrapping.mail_words import decoded_text, decoded_words, whole_characters
from invoices.documents.unwrapping.parts import Flag

LONGEST_NAME = 255  # characters

_NAMED = re.compile(r"(?:^|[;\s])(?:file)?name(?:\*[0-9*]*)?\s*=\s*\"?([^\";]*)", re.IGNORECASE)
_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,5})[\s.\0]*$")
_DOUBLE = re.compile(
    r"\.(?:pdf|xml|jpe?g|png|docx?|xlsx?|txt|html?|zip)[\s_]*"
    r"\.(?:exe|scr|com|bat|cmd|jse?|vb[se]|lnk|pif|msi|hta|ps1|jar|iso|img|wsf|apk)[\s.]*$",
    re.IGNORECASE,
)
_TWO_SCRIPTS = re.compile(r"[A-Za-z][\u0370-\u03ff\u0400-\u04ff]|[\u0370-\u03ff\u0400-\u04ff][A-Za-z]")
_KINDS = {
    "pdf": {"application/pdf", "application/x-pdf", "pdf"},
    "picture": {"png", "jpg", "jpeg", "gif", "tif", "tiff", "bmp", "webp", "heic"},
    "text": {
        "application/xml", "application/xhtml+xml", "application/json", "application/csv", "message/rfc822",
        "xml", "txt", "csv", "htm", "html", "eml", "json",
    },
    "archive": {
        "application/zip", "application/x-zip-compressed", "application/gzip", "application/x-gzip",
        "application/x-7z-compressed", "application/vnd.rar", "application/x-rar-compressed",
        "zip", "gz", "7z", "rar", "docx", "xlsx", "pptx", "odt", "ods",
    },
    "office": {
        "application/x-ole-storage", "application/vnd.ms-outlook", "application/rtf", "application/msword",
        "application/vnd.ms-excel", "doc", "xls", "ppt", "msg", "rtf",
    },
    "signed": {"application/pkcs7-mime", "application/x-pkcs7-mime", "p7m"},
    "program": {EXECUTABLE, "application/x-msdownload", "exe", "scr", "com", "bat", "cmd", "lnk", "msi", "dll", "sh"},
}  # fmt: skip
_KIND = {word: kind for kind, words in _KINDS.items() for word in words}


def file_names(entity: Entity) -> list[str]:
    """Return every name that the headers give the part, decoded and bounded; the first is the one that counts.

    Content-Disposition comes before Content-Type (RFC 2183 §2.3); an empty name is none.
    """
    stated = [*_parameters(entity, "content-disposition", "filename"), *_parameters(entity, "content-type", "name")]
    return [name[:LONGEST_NAME] for name in map(decoded_words, stated) if name]


def disposition(entity: Entity) -> str:
    """Return ``attachment``, ``inline``, another word, or the empty string where none is stated."""
    stated = str(entity.get("content-disposition", ""))[:1000]
    return stated.partition(";")[0].strip(" \t\"'").lower()


def oddities(names: Sequence[str], declared: str, content_type: str) -> list[Flag]:
    """Return flags where names, declared type and content contradict each other, or a name hides what it is."""
    flags = [Flag("INTAKE-NAME", message) for message in _odd_name(names, content_type)]
    kind, stated = _kind(content_type), _kind(declared)
    if kind and stated and kind != stated:
        flags.append(Flag("INTAKE-TYPE", f"declared as {declared[:100]!r}, and is {content_type}"))
    return flags


def _odd_name(names: Sequence[str], content_type: str) -> list[str]:
    if not names:
        return []
    name, kind = names[0], _kind(content_type)
    shown = name[:100]
    messages = []
    if len({_extension(other) for other in names}) > 1:
        messages.append(f"names of different types: {[other[:60] for other in names[:3]]!r}")
    if any(unicodedata.category(c) in {"Cc", "Cf"} for c in name):
        messages.append(f"the name {shown!r} has characters that cannot be seen")
    if _TWO_SCRIPTS.search(name):
        messages.append(f"a word of the name {shown!r} mixes alphabets")
    if _DOUBLE.search(name):
        messages.append(f"the name {shown!r} hides that it is a program")
    elif kind and _kind(_extension(name)) not in {None, kind}:
        messages.append(f"the name {shown!r} is not that of {content_type}")
    return messages


def _kind(word: str) -> str | None:
    """Return the kind of a media type or an extension, None for what says nothing."""
    if word in _KIND:
        return _KIND[word]
    return {"image": "picture", "text": "text"}.get(word.partition("/")[0]) if "/" in word else None


def _extension(name: str) -> str:
    match = _EXTENSION.search(name)
    return match[1].lower() if match else ""


def _parameters(entity: Entity, header: str, name: str) -> list[str]:
    """Return the values of a parameter in their order, RFC 2231 undone."""
    value = str(entity.get(header, ""))
    if name not in value.lower():
        return []
    alone = Message()
    alone[header] = value.replace("\r", " ").replace("\n", " ")
    try:
        found = alone.get_params([], header)
        return [_text(value) for key, value in found if key.lower() == name]
    except (TypeError, ValueError, LookupError):  # contradictory numbers or charsets in RFC 2231 parameters
        return [whole_characters(text.strip()) for text in _NAMED.findall(value)[:1]]


def _text(value: str | tuple[str | None, str | None, str]) -> str:
    if isinstance(value, str):
        return whole_characters(value)
    charset, _, text = value  # each character stands for one byte
    try:
        return whole_characters(decoded_text(text.encode("latin-1"), charset or "utf-8"))
    except UnicodeEncodeError:
        return whole_characters(text)
