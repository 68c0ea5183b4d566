-- A plain decimal with its sign turned; any other text as it is.
CREATE MACRO turned(said) AS CASE
    WHEN exact_quantity(said) IS NULL AND exact_amount(said) IS NULL THEN said
    WHEN said ^@ '-' THEN said[2:]
    ELSE '-' || ltrim(said, '+')
END
