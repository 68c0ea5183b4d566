-- A vendor's quantity as a plain decimal. A text with no reading or two stays a text, which parse_quantity rejects.
CREATE MACRO normalise_quantity(value) AS
    list_transform([clean_text(value)], lambda text: coalesce(normalise_decimal(text), mark_ambiguous_number(text)))[1]
