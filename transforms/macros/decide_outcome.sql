-- The outcome of a rule. A condition that is NULL counts as broken: a rule that cannot be decided does not hold.
CREATE MACRO decide_outcome(applies, condition) AS
    CASE WHEN NOT applies THEN 'not_applicable' WHEN condition THEN 'holds' ELSE 'broken' END
