-- Grain: one per answer of BillflowAI: its totals, and in which ways they agree (contract sheet 03 §2.3), exactly: net −
-- discount + tax = total; amounts that include the tax; without a subtotal, items (− discount) + tax = total. A stated
-- subtotal always has to agree. `is_confirmed`: nothing but the items says whether a subtotal includes the tax, or what a
-- missing one would be, and they add up to total − tax exactly. A discount is subtracted, whatever its sign.
WITH normalised AS (
    SELECT
        document_sha256,
        normalise_amount(payload ->> '$.subtotal') AS subtotal,
        normalise_amount(payload ->> '$.discount') AS discount,
        normalise_amount(payload ->> '$.tax') AS tax,
        normalise_amount(payload ->> '$.total') AS total
    FROM answers
    WHERE extracted_by = 'billflowai' AND payload IS NOT NULL
), items AS (
    SELECT document_sha256, count(*) AS item_count, bool_and(parse_quantity(amount) IS NOT NULL) AS is_complete,
           sum(parse_quantity(amount)::DECIMAL(30, 6)) AS items_amount
    FROM stg_billflowai__items
    WHERE coalesce(quantity, price, amount) IS NOT NULL
    GROUP BY document_sha256
), parsed AS (
    SELECT
        document_sha256, subtotal, discount, tax, total, item_count,
        parse_amount(subtotal)::DECIMAL(30, 4) AS subtotal_amount,
        coalesce(CASE WHEN coalesce(parse_amount(subtotal), parse_amount(total)) > 0 THEN abs(parse_amount(discount)) ELSE parse_amount(discount) END, 0)
            ::DECIMAL(30, 4) AS discount_amount,
        parse_amount(tax)::DECIMAL(30, 4) AS tax_amount,
        parse_amount(total)::DECIMAL(30, 4) AS total_amount,
        CASE WHEN is_complete THEN items_amount END AS items_amount,
        list_bool_and([amount IS NULL OR parse_amount(amount) IS NOT NULL FOR amount IN [subtotal, discount, tax, total]]) AS is_readable
    FROM normalised LEFT JOIN items USING (document_sha256)
), compared AS (
    SELECT
        *,
        total_amount - tax_amount AS net_amount,
        coalesce(subtotal_amount - discount_amount + tax_amount = total_amount, false) AS is_taxed_after_discount,
        coalesce(subtotal_amount - discount_amount = total_amount, false) AS is_tax_inclusive,
        subtotal IS NULL AND coalesce(abs(items_amount - discount_amount + tax_amount - total_amount) <= item_count * 0.01::DECIMAL(3, 2), false)
            AS is_discounted_sum_of_items,
        subtotal IS NULL AND coalesce(abs(items_amount + tax_amount - total_amount) <= item_count * 0.01::DECIMAL(3, 2), false) AS is_sum_of_items,
        coalesce(abs(items_amount + tax_amount - total_amount) <= item_count * 0.01::DECIMAL(3, 2), false) AS are_items_net
    FROM parsed
)
SELECT
    *,
    is_readable AND total IS NOT NULL AND tax IS NOT NULL AND (subtotal IS NOT NULL OR items_amount IS NOT NULL) AS is_decidable,
    is_taxed_after_discount OR is_tax_inclusive OR is_discounted_sum_of_items OR is_sum_of_items AS is_agreed,
    is_taxed_after_discount OR is_discounted_sum_of_items AS is_discount_separate,
    coalesce(CASE
        WHEN is_taxed_after_discount THEN true
        WHEN is_tax_inclusive THEN items_amount = net_amount
        WHEN is_discounted_sum_of_items THEN items_amount - discount_amount = net_amount
        ELSE is_sum_of_items AND discount_amount = 0 AND items_amount = net_amount
    END, false) AS is_confirmed
FROM compared
