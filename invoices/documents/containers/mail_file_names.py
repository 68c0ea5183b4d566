"""The file names of a part as its headers state them, and flags where name, declared type and content disagree."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from email.message import Message

from invoices.documents.containers.mail_encoded_words import (
    decode_encoded_words,
    decode_text_leniently,
    replace_lone_surrogates,
)
from invoices.documents.containers.mime_tree import MimeEntity
from invoices.documents.containers.opened_container import Flag
from invoices.documents.content_sniffing import EXECUTABLE_TYPE

MAX_FILE_NAME_CHARS = 255

_NAME_PARAMETER_PATTERN = re.compile(r"(?:^|[;\s])(?:file)?name(?:\*[0-9*]*)?\s*=\s*\"?([^\";]*)", re.IGNORECASE)
_EXTENSION_PATTERN = re.compile(r"\.([A-Za-z0-9]{1,5})[\s.\0]*$")
_DOUBLE_EXTENSION_PATTERN = re.compile(
    r"\.(?:pdf|xml|jpe?g|png|docx?|xlsx?|txt|html?|zip)[\s_]*"
    r"\.(?:exe|scr|com|bat|cmd|jse?|vb[se]|lnk|pif|msi|hta|ps1|jar|iso|img|wsf|apk)[\s.]*$",
    re.IGNORECASE,
)
_MIXED_ALPHABETS_PATTERN = re.compile(r"[A-Za-z][\u0370-\u03ff\u0400-\u04ff]|[\u0370-\u03ff\u0400-\u04ff][A-Za-z]")
_WORDS_BY_KIND = {
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
    "program": {
        EXECUTABLE_TYPE, "application/x-msdownload", "exe", "scr", "com", "bat", "cmd", "lnk", "msi", "dll", "sh",
    },
}  # fmt: skip
_KIND_BY_WORD = {word: kind for kind, words in _WORDS_BY_KIND.items() for word in words}


def list_file_names(entity: MimeEntity) -> list[str]:
    """Return every name that the headers state for the part, decoded and bounded; the first one counts.

    Content-Disposition comes before Content-Type (RFC 2183 §2.3); empty names are left out.
    """
    stated_names = [
        *_list_parameter_values(entity, "content-disposition", "filename"),
        *_list_parameter_values(entity, "content-type", "name"),
    ]
    return [name[:MAX_FILE_NAME_CHARS] for name in map(decode_encoded_words, stated_names) if name]


def get_disposition(entity: MimeEntity) -> str:
    """Return ``attachment``, ``inline``, another word, or the empty string if none is stated."""
    header_value = str(entity.get("content-disposition", ""))[:1000]
    return header_value.partition(";")[0].strip(" \t\"'").lower()


def check_names_and_types(file_names: Sequence[str], declared_type: str, content_type: str) -> list[Flag]:
    """Return flags if names, declared type and content contradict each other, or a name disguises its type."""
    flags = [Flag("INTAKE-NAME", message) for message in _check_file_name(file_names, content_type)]
    content_kind, declared_kind = _find_file_kind(content_type), _find_file_kind(declared_type)
    if content_kind and declared_kind and content_kind != declared_kind:
        flags.append(Flag("INTAKE-TYPE", f"declared as {declared_type[:100]!r} but is {content_type!r}"))
    return flags


def _check_file_name(file_names: Sequence[str], content_type: str) -> list[str]:
    if not file_names:
        return []
    name, content_kind = file_names[0], _find_file_kind(content_type)
    short_name = name[:100]
    messages = []
    if len({_get_extension(other_name) for other_name in file_names}) > 1:
        messages.append(f"the names have different types: {[other_name[:60] for other_name in file_names[:3]]!r}")
    if any(unicodedata.category(character) in {"Cc", "Cf"} for character in name):
        messages.append(f"the name {short_name!r} contains invisible characters")
    if _MIXED_ALPHABETS_PATTERN.search(name):
        messages.append(f"a word of the name {short_name!r} mixes alphabets")
    if _DOUBLE_EXTENSION_PATTERN.search(name):
        messages.append(f"the name {short_name!r} disguises a program")
    elif content_kind and _find_file_kind(_get_extension(name)) not in {None, content_kind}:
        messages.append(f"the name {short_name!r} does not fit the content, {content_type!r}")
    return messages


def _find_file_kind(type_or_extension: str) -> str | None:
    """Return the kind of a media type or an extension, None if it is unknown."""
    if type_or_extension in _KIND_BY_WORD:
        return _KIND_BY_WORD[type_or_extension]
    main_type, slash, _ = type_or_extension.partition("/")
    return {"image": "picture", "text": "text"}.get(main_type) if slash else None


def _get_extension(name: str) -> str:
    match = _EXTENSION_PATTERN.search(name)
    return match[1].lower() if match else ""


def _list_parameter_values(entity: MimeEntity, header: str, name: str) -> list[str]:
    """Return the values of a parameter in order, decoded by RFC 2231."""
    header_value = str(entity.get(header, ""))
    if name not in header_value.lower():
        return []
    message = Message()
    message[header] = header_value.replace("\r", " ").replace("\n", " ")
    try:
        parameters = message.get_params([], header)
        return [_decode_parameter_value(value) for key, value in parameters if key.lower() == name]
    except (TypeError, ValueError, LookupError):  # contradictory numbers or charsets in RFC 2231 parameters
        return [replace_lone_surrogates(text.strip()) for text in _NAME_PARAMETER_PATTERN.findall(header_value)[:1]]


def _decode_parameter_value(value: str | tuple[str | None, str | None, str]) -> str:
    if isinstance(value, str):
        return replace_lone_surrogates(value)
    charset, _, text = value  # each character stands for one byte
    try:
        return replace_lone_surrogates(decode_text_leniently(text.encode("latin-1"), charset or "utf-8"))
    except UnicodeEncodeError:
        return replace_lone_surrogates(text)
