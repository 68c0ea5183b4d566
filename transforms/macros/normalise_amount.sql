-- A vendor's amount as a plain decimal. A text with no reading or two stays a text, which parse_amount rejects.
CREATE MACRO normalise_amount(value) AS
    list_transform([clean_text(value)], lambda text: coalesce(normalise_decimal(strip_currency(text)), mark_ambiguous_number(text)))[1]
