-- Grain: one per syntax and profile: what a document of this kind cannot state, and how exactly its sums agree. What it
-- cannot state makes no rule break: the rules that need it are not applicable (candidate_profiles, checks_*).
-- Of a candidate's rows the most specific counts: (syntax, profile), then (syntax, '*'), then ('*', '*') for a syntax that
-- is not listed. The syntax of a vendor's answer is its extractor. To add a format, add a row here and a case in
-- tests/sql/candidate_profiles; a row for each of its profiles is needed only where they differ.
-- `lacks` has words of this list: type_code (BT-3), customer_name (BT-44), supplier_address (BG-5), customer_address (BG-8),
-- supplier_id (BT-29 … BT-32), payment_terms (BT-9, BT-20), line_total (BT-106), net_total (BT-109), prepaid (BT-113 and
-- the other parts of the amount due), payable (BT-115), allowances (BG-20, BG-21: the list, not the sum), tax_breakdown
-- (BG-23), tax_category (BT-118), exemption_reason (BT-120), lines (BG-25), line_id, line_quantity, line_unit, line_net,
-- line_name, line_price, line_tax (BT-126 … BT-151). A word means: it may be missing; where it is stated, it is checked.
-- The word european_sums means: the format has its own rules for the sums of a line, a rate and the total (checks_fatturapa).
-- `rounding`: the stated sum must be the computed one, rounded to hundredths (computed), both rounded (both), or to the
-- last digit (exact). `item_tolerance`: each line, allowance and charge of a sum may add this much to its difference.
SELECT syntax, profile, string_split_regex(lacks, '\s+') AS lacks, rounding, item_tolerance::DECIMAL(4, 2) AS item_tolerance
FROM (VALUES
    ('ubl', '*', '', 'computed', 0),
    ('cii', '*', '', 'computed', 0),
    ('cii', 'minimum', 'customer_address line_total prepaid payment_terms allowances tax_breakdown lines', 'computed', 0),
    ('cii', 'basic_wl', 'lines', 'computed', 0),
    ('cii', 'extended', '', 'computed', 0.01), -- BR-FXEXT-CO-10 …
    ('ubl', 'extended', '', 'computed', 0.01), -- EXTENDED-CTC-FR: BR-FREXT-CO-10 …
    ('ubl', 'oioubl', 'payment_terms customer_name exemption_reason', 'computed', 0), -- its net total is computed: ubl_relatives
    ('ubl', 'ubl_tr', 'payment_terms tax_category exemption_reason prepaid', 'computed', 0),
    ('ubl', 'zatca', 'payment_terms customer_name customer_address exemption_reason', 'computed', 0), -- simplified: no buyer
    ('zugferd1', '*', 'payable allowances line_net', 'both', 0), -- BASIC lists neither allowances nor amounts of lines
    ('fatturapa', '*', 'payment_terms line_total net_total prepaid payable line_quantity line_unit european_sums', 'computed', 0),
    ('fatturapa', 'simplified', 'customer_name customer_address payment_terms line_total net_total prepaid payable line_quantity line_unit
        line_price european_sums', 'computed', 0),
    ('smartbills_com', '*', 'type_code customer_name supplier_address customer_address supplier_id payment_terms line_total net_total
        prepaid payable allowances tax_breakdown tax_category lines line_id line_unit line_tax', 'exact', 0),
    ('invoicedataextraction_com', '*', 'type_code customer_name supplier_address customer_address supplier_id payment_terms line_total
        net_total prepaid payable allowances tax_breakdown tax_category lines line_id line_unit line_tax', 'exact', 0),
    ('billflowai', '*', 'type_code customer_name supplier_address customer_address supplier_id payment_terms line_total net_total
        prepaid payable allowances tax_breakdown tax_category lines line_id line_unit line_tax', 'exact', 0),
    ('*', '*', 'payment_terms allowances line_id line_quantity line_unit line_net line_price line_tax tax_category exemption_reason',
        'both', 0)
) AS p (syntax, profile, lacks, rounding, item_tolerance)
