-- A vendor's quantity as a plain decimal, or the text that has no reading or two, which exact_quantity refuses.
CREATE MACRO stated_quantity(said) AS
    list_transform([stated(said)], lambda text: coalesce(plain_number(text), refused_number(text)))[1]
