-- A vendor's amount as a plain decimal, or the text that has no reading or two, which exact_amount refuses.
CREATE MACRO stated_amount(said) AS
    list_transform([stated(said)], lambda text: coalesce(plain_number(bare_amount(text)), refused_number(text)))[1]
