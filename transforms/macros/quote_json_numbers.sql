-- A JSON text with its numbers as strings, digit by digit: DuckDB would read them as binary floats, 1250.00 as 1250.0.
-- Each match consumes whole strings and anything else up to a number (or the end, which adds the "" that is removed again),
-- so digits inside a string are never changed. DuckDB accepts -Infinity as JSON, so it counts as a number here.
CREATE MACRO quote_json_numbers(payload) AS
    regexp_replace(
        regexp_replace(
            payload, '((?:"(?:[^"\\]|\\.)*"|[^"0-9-])*)(-?[0-9][0-9.eE+-]*|-[A-Za-z]+|$)', '\1"\2"', 'gs'
        ),
        '(?:"")+$', ''
    )
