-- A vendor's quantity as a plain decimal, or the text that has no reading or two, which exact_quantity refuses.
CREATE MACRO normalise_quantity(value) AS
    list_transform([clean_text(value)], lambda text: coalesce(normalise_decimal(text), mark_ambiguous_number(text)))[1]
