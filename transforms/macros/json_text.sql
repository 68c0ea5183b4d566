-- The text in a JSON value, cleaned; NULL for an object, a list, true and false: none of them is a number, name or currency.
CREATE MACRO json_text(value) AS CASE WHEN json_type(value) NOT IN ('OBJECT', 'ARRAY', 'BOOLEAN') THEN clean_text(value ->> '$') END
