"""A short notation for XML trees: elements with prefixed names, and their serialisation."""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree


class XmlBuilder:
    """Builds elements with the prefixes of one vocabulary."""

    def __init__(self, namespaces: Mapping[str | None, str]) -> None:
        self._namespaces = dict(namespaces)  # key None: the default namespace, which lxml-stubs lack

    def __call__(self, name: str, *children: etree._Element | str | None, **attributes: str) -> etree._Element:
        """Return an element ``prefix:Name``; None among the children is left out, text becomes its text."""
        prefix, _, local_name = name.rpartition(":")
        qualified_name = f"{{{self._namespaces[prefix or None]}}}{local_name}"
        element = etree.Element(qualified_name, attributes, nsmap=self._namespaces)  # type: ignore[arg-type]  # see above
        for child in children:
            if isinstance(child, str):
                element.text = child
            elif child is not None:
                element.append(child)
        return element

    def build_optional(self, name: str, text: str | None, **attributes: str) -> etree._Element | None:
        """Return an element with this text, or None if there is no text."""
        return self(name, text, **attributes) if text else None


def serialise_xml(root: etree._Element, *, pretty: bool = True) -> bytes:
    """Return the document's bytes in UTF-8 with its declaration."""
    etree.cleanup_namespaces(root, keep_ns_prefixes=[prefix for prefix in root.nsmap if prefix])
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=pretty))
