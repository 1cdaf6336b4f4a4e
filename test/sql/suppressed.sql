-- An update that is suppressed or altered is an error, never a success, and
-- never taken for a lost race.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_suppressed;
SET search_path = test_suppressed, public;

SELECT create_petitions();
INSERT INTO petition_submissions (id, text, state) SELECT pid(n), 'text', 'DELIBERATING' FROM generate_series(1, 9) n;
CREATE FUNCTION all_forms(n int) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT told(format('SELECT (assign_fate(%L, ''DELIBERATING'', ''REFERRED'')).state', pid(n))) UNION ALL
    SELECT told(format('SELECT try_assign_fate(%L, ''DELIBERATING'', ''REFERRED'')', pid(n))) UNION ALL
    SELECT told(format('SELECT a FROM assign_fates(ARRAY[%L]::uuid[], ''DELIBERATING'', ''REFERRED'') a', pid(n))) UNION ALL
    SELECT told(format('SELECT compare_and_swap(NULL::petition_submissions, %L, ''DELIBERATING'', ''REFERRED'')', pid(n))) UNION ALL
    SELECT told(format('SELECT try_compare_and_swap(NULL::petition_submissions, %L, ''DELIBERATING'', ''REFERRED'')', pid(n)))
$$;

-- A BEFORE trigger that returns null.
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER suppress BEFORE UPDATE ON petition_submissions FOR EACH ROW EXECUTE FUNCTION suppress();
SELECT all_forms(1);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT all_forms(1);
COMMIT;
-- What a loser is told is not touched by it.
SELECT told($$ SELECT try_assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED') $$);
SELECT told($$ SELECT try_assign_fate(pid(99), 'RECEIVED', 'ACKNOWLEDGED') $$);
DROP TRIGGER suppress ON petition_submissions;

-- A BEFORE trigger that stores another state: an allowed one, or the old one.
CREATE FUNCTION alter_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.state := TG_ARGV[0]; RETURN NEW; END $$;
CREATE TRIGGER alter_state BEFORE UPDATE ON petition_submissions FOR EACH ROW EXECUTE FUNCTION alter_state('ESCALATED');
SELECT all_forms(1);
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT all_forms(1);
COMMIT;
DROP TRIGGER alter_state ON petition_submissions;
CREATE TRIGGER alter_state BEFORE UPDATE ON petition_submissions FOR EACH ROW EXECUTE FUNCTION alter_state('DELIBERATING');
SELECT all_forms(1);
DROP TRIGGER alter_state ON petition_submissions;
CREATE FUNCTION null_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.state := NULL; RETURN NEW; END $$;
ALTER TABLE petition_submissions ALTER state DROP NOT NULL;
CREATE TRIGGER null_state BEFORE UPDATE ON petition_submissions FOR EACH ROW EXECUTE FUNCTION null_state();
SELECT all_forms(1);
DROP TRIGGER null_state ON petition_submissions;
ALTER TABLE petition_submissions ALTER state SET NOT NULL;

-- A rule that does nothing instead, or something else.
CREATE RULE instead AS ON UPDATE TO petition_submissions DO INSTEAD NOTHING;
SELECT all_forms(1);
CREATE OR REPLACE RULE instead AS ON UPDATE TO petition_submissions DO INSTEAD
    UPDATE petition_submissions_fates SET fate = fate WHERE false RETURNING NULL::uuid, NULL, NULL::varchar(10000), NULL::uuid, NULL, NULL::bytea, NULL, NULL, now(), now();
SELECT left(t, 5), count(*) FROM all_forms(1) t WHERE t !~ '^  ' GROUP BY 1;
CREATE TABLE noted (id uuid);
INSERT INTO noted VALUES (pid(1));
CREATE OR REPLACE RULE instead AS ON UPDATE TO petition_submissions DO INSTEAD
    UPDATE noted SET id = OLD.id WHERE id = OLD.id RETURNING id, '', ''::varchar(10000), NULL::uuid, 'REFERRED', NULL::bytea, '', '', now(), now();
SELECT left(t, 5), count(*) FROM all_forms(1) t WHERE t !~ '^  ' GROUP BY 1;
DROP RULE instead ON petition_submissions;
TRUNCATE noted;
-- A rule that does something as well hinders nobody. (PostgreSQL has no such
-- rules for the statement of assign_fates.)
CREATE RULE also AS ON UPDATE TO petition_submissions DO ALSO INSERT INTO noted VALUES (OLD.id);
SELECT told($$ SELECT state FROM assign_fate(pid(7), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT (compare_and_swap(NULL::petition_submissions, pid(8)::text, 'DELIBERATING', 'REFERRED')).state $$);
SELECT told($$ SELECT outcome FROM assign_fates(ARRAY[pid(9)], 'DELIBERATING', 'REFERRED') $$);
SELECT count(*) FROM noted;
DROP RULE also ON petition_submissions;

-- Row security that lets the caller read the row but not update it.
CREATE ROLE regress_clerk;
GRANT USAGE ON SCHEMA test_suppressed TO regress_clerk;
GRANT SELECT, UPDATE ON petition_submissions TO regress_clerk;
ALTER TABLE petition_submissions ENABLE ROW LEVEL SECURITY;
CREATE POLICY reads ON petition_submissions FOR SELECT USING (true);
CREATE POLICY writes ON petition_submissions FOR UPDATE USING (id >= pid(5));
SET ROLE regress_clerk;
SELECT all_forms(1);
SELECT told($$ SELECT try_assign_fate(pid(5), 'DELIBERATING', 'REFERRED') $$);
-- One that forbids the new row says so itself.
RESET ROLE;
CREATE POLICY no_referral ON petition_submissions AS RESTRICTIVE FOR UPDATE USING (true) WITH CHECK (state <> 'REFERRED');
SET ROLE regress_clerk;
SELECT told($$ SELECT try_assign_fate(pid(6), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT try_assign_fate(pid(6), 'DELIBERATING', 'ESCALATED') $$);
RESET ROLE;

-- Nothing of all that was refused is stored.
SELECT id, state FROM petition_submissions WHERE state <> 'DELIBERATING' ORDER BY id;
SELECT id, fate FROM petition_submissions_fates ORDER BY id;
SELECT verify_fates('petition_submissions');
DROP OWNED BY regress_clerk;
DROP ROLE regress_clerk;
