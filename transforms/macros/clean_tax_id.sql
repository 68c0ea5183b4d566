-- A tax id as stated; NULL for a text without a digit, or of three words and more ("exempt under section 19"): it is no id.
-- Each letter becomes an `a` first, because a pattern that repeats \p{L} takes 20 ms to compile.
CREATE MACRO clean_tax_id(value) AS
    CASE WHEN regexp_matches(value, '[0-9]')
              AND NOT regexp_matches(regexp_replace(value, '\p{L}', 'a', 'g'), '(?:a{3,}[^a]+){2}a{3}')
         THEN clean_text(value) END
