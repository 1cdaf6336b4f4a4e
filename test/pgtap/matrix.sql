-- The whole matrix: a petition in each of the five states, expected in each,
-- to be brought to each: 125 calls of every form. What each has to be told is
-- computed here from the rules alone: the transitions and fates are written
-- out again, and nothing of the extension is asked.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS petition_cas;
CREATE SCHEMA tap;
SET LOCAL search_path = tap, public;

CREATE TABLE states (state text, is_fate boolean);
INSERT INTO states VALUES ('RECEIVED', false), ('DELIBERATING', false),
    ('ACKNOWLEDGED', true), ('REFERRED', true), ('ESCALATED', true);
CREATE TABLE transitions (from_state text, to_state text);
INSERT INTO transitions VALUES ('RECEIVED', 'DELIBERATING'), ('RECEIVED', 'ACKNOWLEDGED'),
    ('DELIBERATING', 'ACKNOWLEDGED'), ('DELIBERATING', 'REFERRED'), ('DELIBERATING', 'ESCALATED');

CREATE TABLE cases AS
SELECT row_number() OVER ()::int AS n, c.state AS current, e.state AS expected, w.state AS wanted,
    CASE WHEN c.is_fate THEN 'already_fated'
         WHEN c.state <> e.state THEN 'concurrent_modification'
         WHEN t.to_state IS NULL OR NOT w.is_fate THEN 'invalid_transition'
         ELSE 'assigned' END AS fate_outcome,
    CASE WHEN c.is_fate THEN 'already_fated'
         WHEN c.state <> e.state THEN 'concurrent_modification'
         WHEN t.to_state IS NULL THEN 'invalid_transition'
         ELSE 'assigned' END AS swap_outcome,
    coalesce(allowed, '[]') AS allowed
FROM states c, states e, states w
    LEFT JOIN LATERAL (SELECT to_state FROM transitions WHERE from_state = e.state AND to_state = w.state) t ON true
    LEFT JOIN LATERAL (SELECT jsonb_agg(to_state) AS allowed FROM transitions WHERE from_state = c.state) a ON true;

CREATE TABLE codes (outcome text, code text);
INSERT INTO codes VALUES ('assigned', '00000'), ('concurrent_modification', 'PF001'),
    ('already_fated', 'PF002'), ('invalid_transition', 'PF003'), ('not_found', 'PF004');

SELECT create_petitions();
CREATE FUNCTION pid(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;

-- Puts the 125 petitions into their states, runs one form for each in an
-- exception block, and returns what it told and what is stored afterwards.
CREATE FUNCTION run(form text) RETURNS TABLE (n int, told text, detail jsonb, current text, stored text, in_ledger text)
LANGUAGE plpgsql AS $$
DECLARE c cases; text_of_detail text;
BEGIN
    FOR c IN SELECT * FROM cases ORDER BY cases.n LOOP
        n := c.n;
        current := NULL;
        detail := NULL;
        BEGIN
            INSERT INTO petition_submissions (id, text, state) VALUES (pid(c.n), 'text', c.current);
            BEGIN
                IF form LIKE 'try%' THEN
                    EXECUTE format(CASE form
                        WHEN 'try_assign_fate' THEN 'SELECT outcome, current_state FROM try_assign_fate(%L, %L, %L)'
                        WHEN 'try_assign_fates' THEN 'SELECT outcome, current_state FROM assign_fates(ARRAY[%L]::uuid[], %L, %L)'
                        ELSE 'SELECT outcome, current_state FROM try_compare_and_swap(NULL::petition_submissions, %L, %L, %L)' END,
                        pid(c.n), c.expected, c.wanted) INTO told, current;
                ELSE
                    EXECUTE format(CASE form
                        WHEN 'assign_fate' THEN 'SELECT state FROM assign_fate(%L, %L, %L)'
                        ELSE 'SELECT state FROM compare_and_swap(NULL::petition_submissions, %L, %L, %L)' END,
                        pid(c.n), c.expected, c.wanted) INTO current;
                    told := '00000';
                END IF;
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS text_of_detail = PG_EXCEPTION_DETAIL;
                told := SQLSTATE;
                detail := text_of_detail;
            END;
            SELECT p.state, f.fate INTO stored, in_ledger
            FROM petition_submissions p LEFT JOIN petition_submissions_fates f USING (id) WHERE p.id = pid(c.n);
            RETURN NEXT;
            RAISE SQLSTATE '99999';
        EXCEPTION WHEN SQLSTATE '99999' THEN
            NULL;
        END;
    END LOOP;
END $$;

CREATE TABLE results AS
SELECT form, r.*, CASE WHEN form LIKE '%swap' THEN swap_outcome ELSE fate_outcome END AS outcome, cases.current AS was, expected, wanted, allowed
FROM unnest('{assign_fate,try_assign_fate,try_assign_fates,compare_and_swap,try_compare_and_swap}'::text[]) form,
    run(form) r JOIN cases USING (n);

SELECT plan(625 + 11);

-- What was told.
SELECT is(told, CASE WHEN form LIKE 'try%' THEN outcome ELSE code END,
          format('%s: %s, expected %s, to %s', form, was, expected, wanted))
FROM results JOIN codes USING (outcome) ORDER BY form, n;

-- Of the 125 exactly so many are assigned.
SELECT results_eq(
    'SELECT form, count(*)::int FROM results WHERE told IN (''00000'', ''assigned'') GROUP BY form ORDER BY form COLLATE "C"',
    $$ VALUES ('assign_fate', 4), ('compare_and_swap', 5), ('try_assign_fate', 4), ('try_assign_fates', 4), ('try_compare_and_swap', 5) $$,
    'of 125, four get a fate, and five are swapped');

-- What was stored, and what current state was told.
SELECT is_empty($$ SELECT * FROM results WHERE stored <> CASE outcome WHEN 'assigned' THEN wanted ELSE was END $$,
    'only what was assigned is stored');
SELECT is_empty($$ SELECT * FROM results WHERE in_ledger IS DISTINCT FROM
    CASE WHEN stored IN (SELECT state FROM states WHERE is_fate) THEN stored END $$,
    'the ledger holds just the fates');
SELECT is_empty($$ SELECT * FROM results WHERE current IS NOT NULL AND current <> stored $$,
    'the state told is the one stored');
SELECT is_empty($$ SELECT * FROM results WHERE form LIKE 'try%' AND current IS NULL $$, 'every try tells the state');

-- The detail.
SELECT is_empty($$ SELECT * FROM results WHERE (detail IS NULL) <> (told = '00000' OR form LIKE 'try%') $$,
    'every error has a detail in JSON');
SELECT is_empty($$ SELECT * FROM results WHERE detail ->> 'current_state' <> stored
    OR detail ->> 'expected_state' <> expected OR detail ->> 'new_state' <> wanted $$,
    'the detail tells the states');
SELECT is_empty($$ SELECT * FROM results WHERE detail -> 'allowed' <> allowed $$, 'the detail tells what is allowed');
SELECT is_empty($$ SELECT * FROM results WHERE detail IS NOT NULL
    AND coalesce(detail ->> 'submission_id', detail ->> 'key') IS DISTINCT FROM pid(n)::text $$, 'the detail tells the row');
SELECT is_empty($$ SELECT * FROM results WHERE detail IS NOT NULL
    AND (detail ?& '{assigned_at,assigned_by}') <> (stored IN (SELECT state FROM states WHERE is_fate)) $$,
    'the detail tells who assigned a fate, if there is one');
SELECT is_empty($$ SELECT * FROM results WHERE detail IS NOT NULL
    AND (detail ? 'submission_id') <> (form = 'assign_fate') $$, 'petitions have a submission_id, other rows a key');

SELECT * FROM finish();
ROLLBACK;
