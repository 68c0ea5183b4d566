-- A number as vendors' texts have it, as a plain decimal; NULL if it is none or has two readings, as "1,250" has.
-- Thousands may be set off by point, comma, blank or apostrophe; a minus may stand before or after, or be parentheses.
CREATE MACRO normalise_decimal(value) AS list_transform(
    [regexp_replace(translate(value, '−’ʼ´', '-'''''''), '[\s\x{A0}\x{2009}\x{202F}]+', ' ', 'g')],
    lambda s: list_transform(
        [regexp_replace(s, '^(?:[+-] ?([^-]+)|([^+(-].*?) ?-|\( ?([^-]+?) ?\))$', '\1\2\3')],
        lambda digits: CASE WHEN regexp_matches(s, '^[-(]|-$') THEN '-' ELSE '' END || CASE
            WHEN regexp_full_match(digits, '[1-9][0-9]{0,2}[.,][0-9]{3}') THEN NULL
            WHEN regexp_full_match(digits, '[0-9]*[.,]?[0-9]+|[0-9]+\.') THEN replace(digits, ',', '.')
            WHEN regexp_full_match(digits, '[1-9][0-9]{0,2}(((,[0-9]{3})+|( [0-9]{3})+|(''[0-9]{3})+)(\.[0-9]+)?|(,[0-9]{3}){2,})')
                THEN regexp_replace(digits, '[, '']', '', 'g')
            WHEN regexp_full_match(digits, '[1-9][0-9]{0,2}(((\.[0-9]{3})+|( [0-9]{3})+|(''[0-9]{3})+),[0-9]+|(\.[0-9]{3}){2,})')
                THEN replace(regexp_replace(digits, '[. '']', '', 'g'), ',', '.')
        END
    )[1]
)[1]
