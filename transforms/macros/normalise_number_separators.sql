-- An invoice number for the recognition of duplicates: upper case, and separators of any kind and length are the same one, so
-- R-2026/1 and R–2026.1 are equal, and R-20261 is another number.
CREATE MACRO normalise_number_separators(value) AS
    coalesce(nullif(trim(regexp_replace(upper(value), '[^\p{L}\p{N}]+', '-', 'g'), '-'), ''), normalise_invoice_number(value))
