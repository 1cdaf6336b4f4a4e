-- create_petitions: the table that it makes, and what users may add to it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_create_petitions;
SET search_path = test_create_petitions, public;

SELECT create_petitions();
SELECT told($$ SELECT create_petitions() $$);
SELECT lifecycle('petition_submissions') = petition_lifecycle();
SELECT verify_fates('petition_submissions');

-- Its defaults and checks.
INSERT INTO petition_submissions (text) VALUES ('text') RETURNING type, submitter_id, state, content_hash, realm, fate_reason,
    created_at = now() AS created, updated_at = now() AS updated;
SELECT told($$ INSERT INTO petition_submissions (text) VALUES (repeat('x', 10000)) $$);
SELECT told($$ INSERT INTO petition_submissions (text) VALUES (repeat('x', 10001)) $$);
SELECT told($$ INSERT INTO petition_submissions (text) VALUES (repeat(U&'\00e4', 10000)) $$);
SELECT told($$ INSERT INTO petition_submissions (text) VALUES (repeat(U&'\00e4', 10001)) $$);
SELECT told($$ UPDATE petition_submissions SET text = text || repeat('x', 10000) $$);
INSERT INTO petition_submissions (text) VALUES (repeat('x', 9999) || '  ') RETURNING length(text);
SELECT left(t, 6) FROM told($$ INSERT INTO petition_submissions (text) VALUES (NULL) $$) t WHERE t !~ '^  ';
SELECT told($$ INSERT INTO petition_submissions (text, content_hash) VALUES ('x', sha256('x')) $$);
SELECT left(t, 6) FROM told($$ INSERT INTO petition_submissions (text, content_hash) VALUES ('x', 'short') $$) t WHERE t !~ '^  ';
SELECT left(t, 6) FROM told($$ UPDATE petition_submissions SET content_hash = sha256('x') || 'x' $$) t WHERE t !~ '^  ';
SELECT left(t, 6) FROM told($$ INSERT INTO petition_submissions (text, state) VALUES ('x', 'LOST') $$) t WHERE t !~ '^  ';

-- Columns of the user's, with names that our statements use themselves.
ALTER TABLE petition_submissions ADD submission_id uuid, ADD outcome text, ADD current_state text, ADD locked int,
    ADD locked_key int, ADD key text, ADD "ONLY" int, ADD petition_submissions int, ADD governed_row int, ADD fate text;
INSERT INTO petition_submissions (id, text, state, outcome, locked_key)
SELECT pid(n), 'text', 'DELIBERATING', 'mine', n FROM generate_series(1, 5) n;
SELECT state FROM assign_fate(pid(1), 'DELIBERATING', 'REFERRED');
SELECT * FROM try_assign_fate(pid(2), 'DELIBERATING', 'REFERRED', 'reason');
SELECT * FROM assign_fates(ARRAY[pid(3), pid(2)], 'DELIBERATING', 'REFERRED');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM assign_fates(ARRAY[pid(4), pid(2)], 'DELIBERATING', 'REFERRED', 'reason');
COMMIT;
SELECT (compare_and_swap(NULL::petition_submissions, pid(5)::text, 'DELIBERATING', 'REFERRED')).outcome;
SELECT id, state, fate_reason, outcome, locked_key, f.fate
FROM petition_submissions p JOIN petition_submissions_fates f USING (id) ORDER BY id;
SELECT verify_fates('petition_submissions');

-- Partitioned by the user instead, as long as id is the key.
CREATE SCHEMA test_create_petitions_parted;
SET search_path = test_create_petitions_parted, public;
CREATE TABLE petition_submissions (LIKE test_create_petitions.petition_submissions INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE p0 PARTITION OF petition_submissions FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE p1 PARTITION OF petition_submissions FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT govern('petition_submissions', petition_lifecycle());
INSERT INTO petition_submissions (id, text, state) SELECT pid(n), 'text', 'DELIBERATING' FROM generate_series(1, 6) n;
SELECT state FROM assign_fate(pid(1), 'DELIBERATING', 'REFERRED');
SELECT left(t, 5) FROM told($$ SELECT assign_fate(pid(1), 'DELIBERATING', 'REFERRED') $$) t WHERE t !~ '^  ';
SELECT * FROM assign_fates(ARRAY(SELECT pid(n) FROM generate_series(7, 1, -1) n), 'DELIBERATING', 'ESCALATED');
SELECT verify_fates('petition_submissions');

-- Where there is no schema to create it in.
SET search_path = '';
SELECT public.told($$ SELECT public.create_petitions() $$);
SET search_path = pg_catalog;
SELECT public.told($$ SELECT public.create_petitions() $$);
SET search_path = nowhere, public;
SELECT told($$ SELECT public.create_petitions() $$) ~ '^ok: petition_submissions';
DROP TABLE petition_submissions, petition_submissions_fates;
CREATE ROLE regress_guest;
SET search_path = test_create_petitions, public;
SET ROLE regress_guest;
SELECT told($$ SELECT create_petitions() $$);
RESET ROLE;
DROP ROLE regress_guest;

-- Settings of other names are none of the extension's.
SELECT left(t, 6) FROM told($$ SELECT set_config('petition_cas.nothing', 'x', false) $$) t WHERE t !~ '^  ';
