-- A vendor's rate in percent as a plain decimal; any other text unchanged. No rate has thousands, so "7,700" is 7.7.
CREATE MACRO normalise_rate(value) AS
    list_transform([regexp_replace(clean_text(value), '[\s\x{A0}]*%$', '')], lambda text:
        CASE WHEN regexp_full_match(text, '[0-9]{1,3},[0-9]+') THEN replace(text, ',', '.') ELSE text END)[1]
