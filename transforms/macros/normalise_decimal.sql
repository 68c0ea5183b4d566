-- A number in a vendor's text as a plain decimal; NULL if it has no reading or two, like "1,250".
-- The thousands separator may be a point, comma, space or apostrophe; a minus may be before or after, or parentheses.
CREATE MACRO normalise_decimal(value) AS list_transform(
    [regexp_replace(translate(value, '−’ʼ´', '-'''''''), '[\s\x{A0}\x{2009}\x{202F}]+', ' ', 'g')],
    lambda text: list_transform(
        [regexp_replace(text, '^(?:[+-] ?([^-]+)|([^+(-].*?) ?-|\( ?([^-]+?) ?\))$', '\1\2\3')],
        lambda digits: CASE WHEN regexp_matches(text, '^[-(]|-$') THEN '-' ELSE '' END || CASE
            WHEN regexp_full_match(digits, '[1-9][0-9]{0,2}[.,][0-9]{3}') THEN NULL
            WHEN regexp_full_match(digits, '[0-9]*[.,]?[0-9]+|[0-9]+\.') THEN replace(digits, ',', '.')
            WHEN regexp_full_match(digits, '[1-9][0-9]{0,2}(((,[0-9]{3})+|( [0-9]{3})+|(''[0-9]{3})+)(\.[0-9]+)?|(,[0-9]{3}){2,})')
                THEN regexp_replace(digits, '[, '']', '', 'g')
            WHEN regexp_full_match(digits, '[1-9][0-9]{0,2}(((\.[0-9]{3})+|( [0-9]{3})+|(''[0-9]{3})+),[0-9]+|(\.[0-9]{3}){2,})')
                THEN replace(regexp_replace(digits, '[. '']', '', 'g'), ',', '.')
        END
    )[1]
)[1]
