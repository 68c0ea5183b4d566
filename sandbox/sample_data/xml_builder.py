"""XML trees in a few words: elements with prefixed names, and their bytes."""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree


class XmlBuilder:
    """Makes elements of one vocabulary, whose prefixes it knows."""

    def __init__(self, namespaces: Mapping[str | None, str]) -> None:
        self._namespaces = dict(namespaces)  # None is the default namespace, which the stubs of lxml do not know

    def __call__(self, name: str, *children: etree._Element | str | None, **attributes: str) -> etree._Element:
        """Return an element ``prefix:Name``; None among the children is left out, text becomes its text."""
        element = etree.Element(self._expand_prefix(name), attributes, nsmap=self._namespaces)  # type: ignore[arg-type]  # see above
        for child in children:
            if isinstance(child, str):
                element.text = child
            elif child is not None:
                element.append(child)
        return element

    def build_optional(self, name: str, text: str | None, **attributes: str) -> etree._Element | None:
        """Return an element with this text, or None where there is no text."""
        return self(name, text, **attributes) if text else None

    def _expand_prefix(self, name: str) -> str:
        prefix, _, local_name = name.rpartition(":")
        return f"{{{self._namespaces[prefix or None]}}}{local_name}"


def serialise_xml(root: etree._Element, *, pretty: bool = True) -> bytes:
    """Return the document's bytes in UTF-8 with its declaration."""
    etree.cleanup_namespaces(root, keep_ns_prefixes=[prefix for prefix in root.nsmap if prefix])
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=pretty))
