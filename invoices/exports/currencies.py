"""How many decimals a currency has: the minor unit of ISO 4217 where it is not two."""

from __future__ import annotations

_WITHOUT = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_MINOR_DIGITS = {
    **dict.fromkeys(_WITHOUT.split(), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def minor_digits(currency: str) -> int:
    """Return the decimals of ``currency`` by ISO 4217; 2 for a code that is not in its list."""
    return _MINOR_DIGITS.get(currency, 2)
