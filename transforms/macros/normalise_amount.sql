-- A vendor's amount as a plain decimal, or the text that has no reading or two, which exact_amount refuses.
CREATE MACRO normalise_amount(value) AS
    list_transform([clean_text(value)], lambda text: coalesce(normalise_decimal(strip_currency(text)), mark_ambiguous_number(text)))[1]
