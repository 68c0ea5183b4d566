-- A text that plain_number does not read, so that no one does: "1.250" looks like a plain decimal, but may be 1250.
CREATE MACRO mark_ambiguous_number(value) AS
    value || CASE WHEN regexp_full_match(value, '[+-]?[0-9]+\.[0-9]{3}') THEN ' (two readings)' ELSE '' END
