-- Part of a sum in a message: its label and amount; an empty text if it is zero.
CREATE MACRO format_addend(label, amount, currency) AS CASE WHEN amount = 0 THEN '' ELSE label || ' ' || format_money(amount, currency) END
