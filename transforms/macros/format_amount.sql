-- An amount in a message: its own decimals, at least two; format() alone would turn it into a binary float.
CREATE MACRO format_amount(amount) AS coalesce(regexp_replace(amount::VARCHAR, '(\.[0-9]{2}[0-9]*?)0+$', '\1'), 'none')
