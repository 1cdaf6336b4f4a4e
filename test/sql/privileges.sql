-- The swaps run with the caller's rights; only the ledger row is its owner's.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_privileges;
SET search_path = test_privileges, public;

CREATE ROLE regress_owner;
CREATE ROLE regress_clerk;
CREATE ROLE regress_thief;
GRANT ALL ON SCHEMA test_privileges TO regress_owner, regress_clerk, regress_thief;
SET ROLE regress_owner;
SELECT create_petitions();
INSERT INTO petition_submissions (id, text, state) SELECT pid(n), 'text', 'DELIBERATING' FROM generate_series(1, 20) n;
CREATE FUNCTION all_forms(n int) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT told(format('SELECT (assign_fate(%L, ''DELIBERATING'', ''REFERRED'')).state', pid(n))) UNION ALL
    SELECT told(format('SELECT try_assign_fate(%L, ''DELIBERATING'', ''REFERRED'')', pid(n + 1))) UNION ALL
    SELECT told(format('SELECT outcome FROM assign_fates(ARRAY[%L]::uuid[], ''DELIBERATING'', ''REFERRED'') a', pid(n + 2))) UNION ALL
    SELECT told(format('SELECT (compare_and_swap(NULL::petition_submissions, %L, ''DELIBERATING'', ''REFERRED'')).state', pid(n + 3))) UNION ALL
    SELECT told(format('SELECT try_compare_and_swap(NULL::petition_submissions, %L, ''DELIBERATING'', ''REFERRED'')', pid(n + 4)))
$$;

-- Nothing; read only; update only.
SET ROLE regress_clerk;
SELECT all_forms(1);
SET ROLE regress_owner;
GRANT SELECT ON petition_submissions TO regress_clerk;
SET ROLE regress_clerk;
SELECT all_forms(1);
SET ROLE regress_owner;
REVOKE SELECT ON petition_submissions FROM regress_clerk;
GRANT UPDATE ON petition_submissions TO regress_clerk;
SET ROLE regress_clerk;
SELECT all_forms(1);
-- A direct UPDATE without the right to read: the error tells no values.
SELECT told($$ UPDATE petition_submissions SET state = 'RECEIVED' $$);
SELECT told($$ UPDATE petition_submissions SET state = 'LOST' $$);
SELECT told($$ UPDATE petition_submissions SET id = gen_random_uuid() $$);
SET ROLE regress_owner;
REVOKE UPDATE ON petition_submissions FROM regress_clerk;

-- Column privileges: what each form needs.
GRANT SELECT (id, state), UPDATE (state, updated_at) ON petition_submissions TO regress_clerk;
SET ROLE regress_clerk;
SELECT all_forms(1);
SELECT told($$ SELECT try_assign_fate(pid(10), 'DELIBERATING', 'REFERRED', 'reason') $$);
SELECT told($$ SELECT try_assign_fate(pid(2), 'DELIBERATING', 'ESCALATED') $$);
SET ROLE regress_owner;
GRANT SELECT, UPDATE (fate_reason) ON petition_submissions TO regress_clerk;
SET ROLE regress_clerk;
SELECT all_forms(6);
SELECT told($$ SELECT (assign_fate(pid(11), 'DELIBERATING', 'REFERRED', 'reason')).fate_reason $$);

-- Who assigned the fate is told to those who may read the ledger.
SELECT told($$ SELECT assign_fate(pid(11), 'DELIBERATING', 'ESCALATED') $$);
SELECT told($$ SELECT compare_and_swap(NULL::petition_submissions, pid(11)::text, 'DELIBERATING', 'ESCALATED') $$);
SET ROLE regress_owner;
GRANT SELECT ON petition_submissions_fates TO regress_clerk;
SET ROLE regress_clerk;
SELECT told($$ SELECT assign_fate(pid(11), 'DELIBERATING', 'ESCALATED') $$);
SET ROLE regress_owner;
REVOKE SELECT ON petition_submissions_fates FROM regress_clerk;
GRANT SELECT (id, fate) ON petition_submissions_fates TO regress_clerk;
SET ROLE regress_clerk;
SELECT told($$ SELECT assign_fate(pid(11), 'DELIBERATING', 'ESCALATED') $$);

-- The owner has all rights.
SET ROLE regress_owner;
SELECT told($$ SELECT try_assign_fate(pid(12), 'DELIBERATING', 'REFERRED') $$);
-- A ledger whose rows its owner's own policies hide is written and read all the same.
ALTER TABLE petition_submissions_fates ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT told($$ SELECT try_assign_fate(pid(13), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ INSERT INTO petition_submissions (id, text, state) VALUES (pid(13), 'x', 'ESCALATED') ON CONFLICT DO NOTHING $$);
SELECT told($$ TRUNCATE petition_submissions $$);
SELECT verify_fates('petition_submissions');
ALTER TABLE petition_submissions_fates NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;

-- A trigger on the ledger runs as the caller, and from PostgreSQL 18 on, which
-- remembers who queued it, as the ledger's owner; never as anybody else.
RESET ROLE;
CREATE TABLE seen (id uuid, who text);
GRANT INSERT ON seen TO PUBLIC;
SET ROLE regress_owner;
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO test_privileges.seen VALUES (NEW.id, current_user); RETURN NULL; END $$;
CREATE TRIGGER see AFTER INSERT ON petition_submissions_fates FOR EACH ROW EXECUTE FUNCTION see();
SET ROLE regress_clerk;
SELECT told($$ SELECT try_assign_fate(pid(14), 'DELIBERATING', 'REFERRED') $$);
RESET ROLE;
SELECT id, who = CASE WHEN current_setting('server_version_num')::int < 180000 THEN 'regress_clerk' ELSE 'regress_owner' END AS right_one FROM seen;

-- Somebody who creates a guard of his own that names another's ledger, in a
-- schema where both may create, writes nothing there.
SET ROLE regress_thief;
CREATE TABLE bait (id uuid PRIMARY KEY, state text);
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW
    EXECUTE FUNCTION guard_fate('id', 'state', 'petition_submissions_fates', '{"open": ["closed"]}');
-- nor would it help, where a superuser let it pass
RESET ROLE;
SET petition_cas.allow_unguard = on;
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW
    EXECUTE FUNCTION guard_fate('id', 'state', 'petition_submissions_fates', '{"open": ["closed"]}');
RESET petition_cas.allow_unguard;
SET ROLE regress_thief;
CREATE TRIGGER petition_cas_truncate AFTER TRUNCATE ON bait EXECUTE FUNCTION guard_truncate();
SELECT told($$ INSERT INTO bait VALUES (pid(20), 'closed') $$);
INSERT INTO bait VALUES (pid(20), 'open');
SELECT told($$ UPDATE bait SET state = 'closed' $$);
SELECT told($$ SELECT compare_and_swap(NULL::bait, pid(20)::text, 'open', 'closed') $$);
SELECT told($$ TRUNCATE bait $$);
SELECT told($$ SELECT verify_fates('bait') $$);
SELECT told($$ SELECT govern('bait', '{"open": ["closed"]}') $$);
RESET ROLE;
SELECT count(*) FROM petition_submissions_fates WHERE id = pid(20);

-- A superuser who governs, verifies or backfills runs none of the owner's code
-- with his own rights.
SET ROLE regress_thief;
CREATE FUNCTION spy(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN RAISE WARNING 'index built as %', current_user; RETURN $1; END $$;
CREATE FUNCTION spy_trigger() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE WARNING 'trigger fired as %', current_user; RETURN NEW; END $$;
CREATE FUNCTION spy_policy(int) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE WARNING 'policy checked as %', current_user; RETURN true; END $$;
CREATE TABLE trap (id int PRIMARY KEY, state text);
ALTER TABLE trap ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON trap USING (spy_policy(id));
CREATE INDEX ON trap (spy(id));
RESET ROLE;
SELECT govern('trap', '{"open": ["closed"]}');
SET ROLE regress_thief;
CREATE TRIGGER spy BEFORE INSERT ON trap_fates FOR EACH ROW EXECUTE FUNCTION spy_trigger();
ALTER TABLE trap_fates ENABLE ALWAYS TRIGGER spy;
RESET ROLE;
SET client_min_messages = error;
SET session_replication_role = replica;
INSERT INTO trap VALUES (2, 'closed');
RESET session_replication_role;
SET client_min_messages = warning;
SELECT backfill_fates('trap');
SELECT verify_fates('trap');
SELECT extend_lifecycle('trap', '{"open": ["void"]}');
SELECT ungovern('trap');

DROP OWNED BY regress_owner, regress_clerk, regress_thief CASCADE;
DROP ROLE regress_owner, regress_clerk, regress_thief;
