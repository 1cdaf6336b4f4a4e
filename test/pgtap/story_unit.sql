-- The unit tests of the story "atomic fate assignment (CAS)", each under its
-- name there. Its concurrent tests are in test/t and test/specs.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS petition_cas;
CREATE SCHEMA tap;
SET LOCAL search_path = tap, public;
SET LOCAL petition_cas.actor = 'tester';
SELECT create_petitions();
CREATE FUNCTION pid(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;
CREATE FUNCTION call(n int, expected text, wanted text) RETURNS text LANGUAGE sql AS
    $$ SELECT format('SELECT assign_fate(%L, %L, %L)', pid(n), expected, wanted) $$;

INSERT INTO petition_submissions (id, type, text, submitter_id, state, content_hash, realm, fate_reason, created_at, updated_at)
SELECT pid(n), 'MEMORIAL', 'text ' || n, pid(1000 + n), 'DELIBERATING', sha256(n::text::bytea), 'realm ' || n, 'reason ' || n,
    '2026-01-01', '2026-01-02'
FROM generate_series(1, 30) n;

-- What an error says, as a client gets it.
CREATE FUNCTION error_of(command text, OUT code text, OUT message text, OUT detail jsonb, OUT hint text,
                         OUT table_name text, OUT schema_name text)
LANGUAGE plpgsql AS $$
DECLARE details text;
BEGIN
    EXECUTE command;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, details = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT, table_name = TABLE_NAME, schema_name = SCHEMA_NAME;
    detail := details;
END $$;

SELECT plan(71);

-- ConcurrentModificationError: attributes and message formatting
CREATE TEMPORARY TABLE told AS SELECT * FROM error_of(call(1, 'RECEIVED', 'ACKNOWLEDGED'));
SELECT is(code, 'PF001', 'ConcurrentModificationError has a SQLSTATE of its own') FROM told;
SELECT isnt(left(code, 2), '40', 'ConcurrentModificationError is not of class 40, which is retried') FROM told;
SELECT is(message, 'concurrent modification of row "00000000-0000-0000-0000-000000000001" of relation "petition_submissions": '
    'expected state "RECEIVED", found "DELIBERATING"', 'ConcurrentModificationError: message names row and states') FROM told;
SELECT is(detail ->> 'submission_id', pid(1)::text, 'ConcurrentModificationError: submission_id') FROM told;
SELECT is(detail ->> 'expected_state', 'RECEIVED', 'ConcurrentModificationError: expected_state') FROM told;
SELECT is(detail ->> 'current_state', 'DELIBERATING', 'ConcurrentModificationError: current_state') FROM told;
SELECT is(detail ->> 'new_state', 'ACKNOWLEDGED', 'ConcurrentModificationError: new_state') FROM told;
SELECT is(detail -> 'allowed', '["ACKNOWLEDGED", "REFERRED", "ESCALATED"]', 'ConcurrentModificationError: allowed') FROM told;
SELECT ok(NOT detail ?| '{assigned_at,assigned_by}', 'ConcurrentModificationError: no fate, so nobody assigned it') FROM told;
SELECT is(hint, 'Nothing was changed. Read the row again and decide on the state that it has now.',
    'ConcurrentModificationError: a hint for people') FROM told;
SELECT is((schema_name, table_name)::text, '(tap,petition_submissions)', 'ConcurrentModificationError: names schema and table') FROM told;

-- CAS success paths: DELIBERATING to all three fates
SELECT is((assign_fate(pid(n), 'DELIBERATING', fate)).state, fate, 'CAS success: DELIBERATING to ' || fate)
FROM (VALUES (2, 'ACKNOWLEDGED'), (3, 'REFERRED'), (4, 'ESCALATED')) v (n, fate);
SELECT is((SELECT string_agg(fate, ' ' ORDER BY id) FROM petition_submissions_fates), 'ACKNOWLEDGED REFERRED ESCALATED',
    'CAS success: each is in the ledger');

-- CAS failure: state mismatch
SELECT throws_ok(call(5, 'RECEIVED', 'ACKNOWLEDGED'), 'PF001', NULL, 'CAS failure: state mismatch');
SELECT throws_ok(call(5, 'REFERRED', 'ACKNOWLEDGED'), 'PF001', NULL, 'CAS failure: state mismatch, a fate was expected');

-- CAS failure: petition not found
SELECT throws_ok(call(999, 'DELIBERATING', 'ACKNOWLEDGED'), 'PF004',
    'row "00000000-0000-0000-0000-000000000999" of relation "petition_submissions" does not exist', 'CAS failure: petition not found');

-- CAS failure: already fated, all three terminal states
SELECT throws_ok(call(n, 'DELIBERATING', wanted), 'PF002',
    format('row "%s" of relation "petition_submissions" already has the fate "%s"', pid(n), fate),
    format('CAS failure: already fated %s, to %s', fate, wanted))
FROM (VALUES (2, 'ACKNOWLEDGED'), (3, 'REFERRED'), (4, 'ESCALATED')) v (n, fate),
    unnest('{ACKNOWLEDGED,REFERRED,ESCALATED,RECEIVED}'::text[]) wanted;
-- The terminal state is the authoritative check: it comes before the others.
SELECT throws_ok(call(2, 'RECEIVED', 'REFERRED'), 'PF002', NULL, 'error order: already fated before state mismatch');
SELECT throws_ok(call(2, 'ACKNOWLEDGED', 'RECEIVED'), 'PF002', NULL, 'error order: already fated before invalid transition');
SELECT throws_ok(call(5, 'RECEIVED', 'ESCALATED'), 'PF001', NULL, 'error order: state mismatch before invalid transition');

-- CAS failure: invalid transition
INSERT INTO petition_submissions (id, text) VALUES (pid(40), 'received');
SELECT throws_ok(call(40, 'RECEIVED', 'REFERRED'), 'PF003', NULL, 'CAS failure: invalid transition, off the graph');
SELECT throws_ok(call(40, 'RECEIVED', 'DELIBERATING'), 'PF003', NULL, 'CAS failure: invalid transition, no fate');
SELECT throws_ok(call(5, 'DELIBERATING', 'DELIBERATING'), 'PF003', NULL, 'CAS failure: invalid transition, to itself');
SELECT throws_ok(call(5, 'DELIBERATING', 'RECEIVED'), 'PF003', NULL, 'CAS failure: invalid transition, backwards');
SELECT throws_ok(call(5, 'DELIBERATING', 'UNHEARD OF'), '22023', NULL, 'CAS failure: no such state');

-- CAS preserves other fields; CAS updates timestamp
CREATE TEMPORARY TABLE before AS SELECT * FROM petition_submissions WHERE id IN (pid(6), pid(7));
SELECT lives_ok(call(6, 'DELIBERATING', 'REFERRED'), 'CAS without a reason');
SELECT is(to_jsonb(a) - '{state,updated_at}'::text[], to_jsonb(b) - '{state,updated_at}'::text[], 'CAS preserves other fields')
FROM petition_submissions a JOIN before b USING (id) WHERE id = pid(6);
SELECT is(a.updated_at, now(), 'CAS updates timestamp') FROM petition_submissions a WHERE id = pid(6);
SELECT is(a.created_at, b.created_at, 'CAS preserves the time of creation') FROM petition_submissions a JOIN before b USING (id) WHERE id = pid(6);
SELECT is((assign_fate(pid(7), 'DELIBERATING', 'REFERRED', 'new reason')).fate_reason, 'new reason', 'CAS sets the reason it is given');
SELECT is(to_jsonb(a) - '{state,updated_at,fate_reason}'::text[], to_jsonb(b) - '{state,updated_at,fate_reason}'::text[], 'CAS with a reason preserves other fields')
FROM petition_submissions a JOIN before b USING (id) WHERE id = pid(7);
SELECT row_eq('SELECT r.* FROM petition_submissions p, LATERAL (SELECT p.id, p.type, p.text::text, p.submitter_id, p.state, p.content_hash, p.realm, p.fate_reason, p.created_at, p.updated_at) r WHERE p.id = pid(8) AND p.state = ''ESCALATED''',
    assign_fate(pid(8), 'DELIBERATING', 'ESCALATED'), 'CAS returns the row as it is stored');

-- State preservation on failure
CREATE TEMPORARY TABLE untouched AS SELECT * FROM petition_submissions WHERE id IN (pid(2), pid(5), pid(40));
SELECT throws_ok(call(n, expected, wanted)) FROM (VALUES (2, 'DELIBERATING', 'REFERRED'), (5, 'RECEIVED', 'ACKNOWLEDGED'), (40, 'RECEIVED', 'REFERRED')) v (n, expected, wanted);
SELECT results_eq('SELECT * FROM petition_submissions WHERE id IN (pid(2), pid(5), pid(40)) ORDER BY id', 'SELECT * FROM untouched ORDER BY id',
    'state preservation on failure: every field of each loser is as it was');

-- NFR-3.2: sequential double-fate prevention
SELECT is((SELECT count(*) FROM generate_series(1, 100) n, try_assign_fate(pid(9), 'DELIBERATING',
            (ARRAY['ACKNOWLEDGED', 'REFERRED', 'ESCALATED'])[1 + n % 3]) t WHERE t.outcome = 'assigned'), 1::bigint,
    'NFR-3.2 sequential double-fate prevention: of 100 attempts one wins');
SELECT is((SELECT state FROM petition_submissions WHERE id = pid(9)), 'REFERRED', 'NFR-3.2 sequential double-fate prevention: the first stands');

-- Terminal state immutability
SELECT throws_ok(format('UPDATE petition_submissions SET state = %L WHERE id = %L', s, pid(2)), 'PF002', NULL,
    'terminal state immutability: UPDATE to ' || s)
FROM unnest('{RECEIVED,DELIBERATING,REFERRED,ESCALATED,UNHEARD OF}'::text[]) s;
SELECT throws_ok('DELETE FROM petition_submissions WHERE id = pid(2)', 'PF006', NULL, 'terminal state immutability: DELETE');
SELECT throws_ok('UPDATE petition_submissions SET id = pid(500) WHERE id = pid(2)', 'PF006', NULL, 'terminal state immutability: a new key');
SELECT throws_ok('TRUNCATE petition_submissions', 'PF006', NULL, 'terminal state immutability: TRUNCATE');
SELECT throws_ok('UPDATE petition_submissions_fates SET fate = ''REFERRED''', 'PF006', NULL, 'terminal state immutability: the ledger');
SELECT throws_ok('DELETE FROM petition_submissions_fates', 'PF006', NULL, 'terminal state immutability: a row of the ledger');
SELECT throws_ok('SELECT extend_lifecycle(''petition_submissions'', ''{"REFERRED": ["RECEIVED"]}'')', 'PF006', NULL, 'terminal state immutability: the lifecycle');
SELECT lives_ok('UPDATE petition_submissions SET text = ''edited'' WHERE id = pid(2)', 'terminal state immutability: other fields may change');

-- Retry pattern demonstration
SELECT is(second.outcome, 'assigned', 'retry pattern: the loser decides again on the state it was told')
FROM try_assign_fate(pid(10), 'RECEIVED', 'ACKNOWLEDGED') first, try_assign_fate(pid(10), first.current_state, 'ACKNOWLEDGED') second;
SELECT is((SELECT outcome FROM try_assign_fate(pid(10), 'DELIBERATING', 'ACKNOWLEDGED')), 'already_fated', 'retry pattern: a fate ends it');

-- Idempotent check-then-act pattern
CREATE TEMPORARY TABLE again AS SELECT * FROM error_of(call(10, 'DELIBERATING', 'ACKNOWLEDGED'));
SELECT is(detail ->> 'current_state', 'ACKNOWLEDGED', 'idempotent check-then-act: the same call again tells the fate that stands') FROM again;
SELECT is(detail ->> 'assigned_by', 'tester', 'idempotent check-then-act: and that it is the caller''s own') FROM again;
SELECT is((detail ->> 'assigned_at')::timestamptz, now(), 'idempotent check-then-act: and of when') FROM again;
SELECT is(count(*), 0::bigint, 'idempotent check-then-act: checking first, then acting on what is open, loses nothing')
FROM petition_submissions p, try_assign_fate(p.id, p.state, 'ACKNOWLEDGED') t
WHERE NOT is_fate('petition_submissions', p.state) AND t.outcome <> 'assigned';

-- No petition ever has more than one fate
SELECT is_empty('SELECT id FROM petition_submissions_fates GROUP BY id HAVING count(*) > 1', 'no petition has more than one fate');
SELECT is_empty('SELECT * FROM verify_fates(''petition_submissions'')', 'rows and ledger agree');

SELECT * FROM finish();
ROLLBACK;
