-- A tax id as stated; NULL for a text without a digit, or of three words and more ("exempt under section 19"): it is no id.
CREATE MACRO clean_tax_id(value) AS
    CASE WHEN regexp_matches(value, '[0-9]') AND NOT regexp_matches(value, '(?:\p{L}{3,}[^\p{L}]+){2}\p{L}{3}')
         THEN clean_text(value) END
