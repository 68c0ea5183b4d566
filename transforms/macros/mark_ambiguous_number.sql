-- A text that normalise_decimal cannot convert, marked so that parse_amount rejects it: "1.250" looks like a plain
-- decimal, but may be 1250. The mark is part of content_key in candidate_keys and must not change.
CREATE MACRO mark_ambiguous_number(value) AS
    value || CASE WHEN regexp_full_match(value, '[+-]?[0-9]+\.[0-9]{3}') THEN ' (two readings)' ELSE '' END
