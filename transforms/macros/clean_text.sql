-- A stated text without control characters (a NUL would be dropped later without notice), trimmed of
-- blanks and invisible characters of any kind; empty is NULL.
CREATE MACRO clean_text(value) AS
    nullif(
        regexp_replace(
            regexp_replace(value::VARCHAR, '[\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}\x{7F}]', '', 'g'),
            '^[\s\p{Z}\p{Cf}]+|[\s\p{Z}\p{Cf}]+$', '', 'g'
        ), ''
    )
