-- A vendor's date as YYYY-MM-DD, or the text if it is none or has two readings, which exact_date refuses.
-- A time of day is left out; the day is the one written. 25/03/2026 and 03/25/2026 have one reading each, 05/05/2026 the
-- same in both orders; 03/05/2026 has two, and nobody guesses.
CREATE MACRO normalise_date(value) AS list_transform([clean_text(value)], lambda text: list_transform(
    [regexp_extract(text, '^([0-9]{1,2})([./-])([0-9]{1,2})([./-])([0-9]{4})$', ['a', 'sign', 'b', 'again', 'year'])],
    lambda p: coalesce(parse_date(CASE
        WHEN regexp_full_match(text, '.{10}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?( ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?')
            THEN text[:10]
        WHEN p.year = '' OR p.sign != p.again THEN NULL
        WHEN p.a = p.b OR (p.a::INTEGER > 12 AND p.b::INTEGER <= 12) THEN concat_ws('-', p.year, lpad(p.b, 2, '0'), lpad(p.a, 2, '0'))
        WHEN p.a::INTEGER <= 12 AND p.b::INTEGER > 12 THEN concat_ws('-', p.year, lpad(p.a, 2, '0'), lpad(p.b, 2, '0'))
    END)::VARCHAR, text)
)[1])[1]
