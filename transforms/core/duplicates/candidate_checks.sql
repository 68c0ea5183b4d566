-- Grain: one per candidate and rule; `message` says what is wrong; NULL unless the rule is broken.
WITH checks AS (
    SELECT * FROM checks_per_candidate
    UNION ALL
    SELECT * FROM checks_duplicates
)
SELECT invoice_id, rule_id, outcome, CASE WHEN outcome = 'broken' THEN coalesce(message, 'the rule does not hold') END AS message
FROM checks
ORDER BY invoice_id, rule_id
