-- Grain: one per candidate with keys: the other candidate with the same content, or else the one with the same number of
-- the same supplier, and whether that one is decided (accepted). Others are the candidates known before this batch, except
-- those that wait for this one, then those before it in the batch. A candidate that a critical rule quarantines is not an
-- original. Only the first of each key is considered, so the cost is linear however often an invoice arrives.
WITH broken AS (
    SELECT invoice_id,
           bool_or(rule_id IN (SELECT rule_id FROM critical_rules)) AS is_quarantined,
           bool_or(rule_id IN (SELECT rule_id FROM warning_rules)) AS is_in_review
    FROM checks_per_candidate WHERE outcome = 'broken' GROUP BY invoice_id
), first_in_batch AS (
    SELECT key, min(position) AS position, arg_min(invoice_id, position) AS invoice_id
    FROM candidate_keys JOIN candidate_identities USING (invoice_id) LEFT JOIN broken USING (invoice_id)
    WHERE NOT coalesce(is_quarantined, false)
    GROUP BY key
), matches AS (
    SELECT s.invoice_id, s.relation, k.invoice_id AS other_id, k.verdict = 'accepted' AS is_decided,
           CASE WHEN k.verdict = 'accepted' THEN 0 ELSE 1 END AS priority, 0 AS position
    FROM sought_keys AS s JOIN known_keys AS k USING (key)
    WHERE k.duplicate_of IS DISTINCT FROM s.invoice_id AND k.invoice_id NOT IN (SELECT invoice_id FROM candidates)
    UNION ALL
    SELECT s.invoice_id, s.relation, f.invoice_id AS other_id, NULL AS is_decided, 2 AS priority, f.position
    FROM sought_keys AS s JOIN candidate_identities AS c USING (invoice_id)
    JOIN first_in_batch AS f ON f.key = s.key AND f.position < c.position
), originals AS (
    SELECT invoice_id, relation, other_id, is_decided FROM matches
    QUALIFY row_number() OVER (PARTITION BY invoice_id ORDER BY relation, priority, position, other_id) = 1
)
SELECT
    c.invoice_id,
    o.other_id AS duplicate_of,
    o.relation,
    coalesce(o.is_decided, NOT (coalesce(b.is_in_review, false) OR x.invoice_id IS NOT NULL)) AS is_decided
FROM candidate_identities AS c
LEFT JOIN originals AS o USING (invoice_id)
LEFT JOIN broken AS b ON b.invoice_id = o.other_id
LEFT JOIN originals AS x ON x.invoice_id = o.other_id
