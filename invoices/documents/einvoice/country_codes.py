"""Country codes: three letters, as Mexico and Spain write them, to the two letters that the payload has."""

from __future__ import annotations

from iso3166 import countries_by_alpha3


def find_alpha2_code(code: str | None) -> str | None:
    """Return the ISO 3166-1 code of two letters for one of two or three, any other text unchanged, None if empty."""
    if not code:
        return None
    country = countries_by_alpha3.get(code.upper())
    return country.alpha2 if country else code
