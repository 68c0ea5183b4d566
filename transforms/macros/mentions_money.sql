-- Whether an extractor's note mentions amounts, tax, currency, dates or the account to pay to: English words and our
-- field names.
CREATE MACRO mentions_money(note) AS regexp_matches(lower(replace(note, '_', ' ')),
    '\b(amounts?|(sub)?-?totals?|sums?|net|gross|tax(es|ed|able|ation)?|vat|gst|hst|pst|iva|currenc(y|ies)|dates?|dated|issued'
    '|due|days?|months?|years?|discounts?|allowances?|charges?|prices?|pric(ed|ing)|costs?|fees?|rates?|percent(age)?'
    '|quantit(y|ies)|decimals?|thousands|separators?|money|balance|payable|paid|prepaid|deposit|rounding|rounded|iban)\b'
    '|\p{Sc}|%'
)
