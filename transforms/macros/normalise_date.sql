-- A vendor's date as YYYY-MM-DD. A text with no reading or two stays a text, which parse_date rejects.
-- A time of day is dropped; the day is the one written. 25/03/2026 and 03/25/2026 have one reading each, 05/05/2026 is
-- the same in both orders; 03/05/2026 has two, and is not guessed.
CREATE MACRO normalise_date(value) AS list_transform([clean_text(value)], lambda text: list_transform(
    [regexp_extract(text, '^([0-9]{1,2})([./-])([0-9]{1,2})([./-])([0-9]{4})$', ['first', 'separator', 'second', 'second_separator', 'year'])],
    lambda p: coalesce(parse_date(CASE
        WHEN regexp_full_match(text, '.{10}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?( ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?')
            THEN text[:10]
        WHEN p.year = '' OR p.separator != p.second_separator THEN NULL
        WHEN p.first = p.second OR (p.first::INTEGER > 12 AND p.second::INTEGER <= 12) THEN concat_ws('-', p.year, lpad(p.second, 2, '0'), lpad(p.first, 2, '0'))
        WHEN p.first::INTEGER <= 12 AND p.second::INTEGER > 12 THEN concat_ws('-', p.year, lpad(p.first, 2, '0'), lpad(p.second, 2, '0'))
    END)::VARCHAR, text)
)[1])[1]
