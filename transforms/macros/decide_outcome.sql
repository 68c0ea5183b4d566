-- What came of a rule. An unknown condition counts as broken: nothing holds because it could not be decided.
CREATE MACRO decide_outcome(applies, condition) AS
    CASE WHEN NOT applies THEN 'not_applicable' WHEN condition THEN 'holds' ELSE 'broken' END
