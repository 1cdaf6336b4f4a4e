-- The ledger belongs to its table's owner alone: it follows the table to another
-- owner, and nobody else may write to it, or is told more of it than he may read.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA ledger_owned;
CREATE ROLE regress_ann;
CREATE ROLE regress_bob;
CREATE ROLE regress_app;
GRANT ALL ON SCHEMA ledger_owned TO regress_ann, regress_bob;
GRANT USAGE ON SCHEMA ledger_owned TO regress_app;
SET search_path = ledger_owned, public;

-- Default privileges give nobody the right to write it.
ALTER DEFAULT PRIVILEGES FOR ROLE regress_ann GRANT ALL ON TABLES TO regress_app;
ALTER DEFAULT PRIVILEGES FOR ROLE regress_ann IN SCHEMA ledger_owned GRANT INSERT ON TABLES TO PUBLIC;
SET ROLE regress_ann;
CREATE TABLE t (id int PRIMARY KEY, state text);
SELECT govern('t', '{"open": ["won", "lost"]}');
SELECT grantee, privilege_type FROM information_schema.table_privileges WHERE table_name = 't_fates' AND table_schema = 'ledger_owned' AND grantee <> 'regress_ann' ORDER BY 1, 2;
SET ROLE regress_app;
SELECT told($$INSERT INTO t_fates VALUES (1, null, 'lost', now(), 'app', '3')$$);
INSERT INTO t VALUES (1, 'open'), (2, 'open'), (3, 'open'), (4, 'open');
UPDATE t SET state = 'won' WHERE id = 1;
RESET ROLE;
SELECT id, fate FROM t_fates;
SELECT * FROM verify_fates('t');

-- The ledger follows its table, and stays where the table is.
CREATE FUNCTION owners() RETURNS text LANGUAGE sql STABLE AS
    $$SELECT string_agg(relname || ' ' || relowner::regrole, ', ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'ledger_owned'::regnamespace AND relname IN ('t', 't_fates', 't_fates_pkey')$$;
ALTER TABLE t OWNER TO regress_bob;
SELECT owners();
SELECT told('ALTER TABLE t_fates OWNER TO regress_ann');
SELECT told('ALTER TABLE t_fates OWNER TO regress_bob');
SET ROLE regress_ann;
SELECT told('ALTER TABLE t_fates DISABLE TRIGGER ALL');
RESET ROLE;
REASSIGN OWNED BY regress_bob TO regress_ann;
SELECT owners();
GRANT regress_bob TO regress_ann;
SET ROLE regress_ann;
SELECT told('ALTER TABLE t OWNER TO regress_bob');
RESET ROLE;
SELECT owners();
REVOKE regress_bob FROM regress_ann;
ALTER TABLE t OWNER TO regress_ann;
SELECT * FROM verify_fates('t');
-- Somebody else's table does not, whatever a guard says of it.
SET ROLE regress_bob;
CREATE TABLE bait (id int PRIMARY KEY, state text);
RESET ROLE;
SET petition_cas.allow_unguard = on;
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won"]}');
RESET petition_cas.allow_unguard;
SELECT told('ALTER TABLE bait OWNER TO regress_app');
SELECT owners();
DROP TABLE bait;

-- A user's own constraints on the ledger are told as such, and without the row
-- to whom may not read it.
SET ROLE regress_ann;
CREATE UNIQUE INDEX one_each ON t_fates (fate);
ALTER TABLE t_fates ADD CONSTRAINT not_lost CHECK (fate <> 'lost'), ADD remark text;
ALTER TABLE t_fates ALTER remark SET DEFAULT 'secret';
RESET ROLE;
REVOKE SELECT ON t_fates FROM regress_app;
CREATE FUNCTION told_whole(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE details text; name text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS details = PG_EXCEPTION_DETAIL, name = CONSTRAINT_NAME;
    RETURN concat_ws(' | ', SQLSTATE, SQLERRM, name, nullif(details, ''));
END $$;
SET ROLE regress_app;
SELECT told_whole($$UPDATE t SET state = 'won' WHERE id = 2$$);
SELECT told_whole($$UPDATE t SET state = 'lost' WHERE id = 2$$);
SELECT told($$INSERT INTO t VALUES (9, 'won')$$);
RESET ROLE;
GRANT SELECT ON t_fates TO regress_app;
SET ROLE regress_app;
SELECT told_whole($$UPDATE t SET state = 'won' WHERE id = 2$$);
SELECT told_whole($$UPDATE t SET state = 'lost' WHERE id = 2$$) ~ 'Failing row contains .*secret';
RESET ROLE;
DROP INDEX one_each;
ALTER TABLE t_fates DROP CONSTRAINT not_lost;

-- A conflict on the ledger's key is told to whom may see the row, with the fate
-- that it holds, even if the index was renamed.
INSERT INTO t_fates VALUES (2, null, 'lost', now(), 'forger', '3');
REVOKE ALL ON t FROM regress_app;
GRANT UPDATE (state), SELECT (id) ON t TO regress_app;
SET ROLE regress_app;
SELECT told($$UPDATE t SET state = 'won' WHERE id = 2$$);
RESET ROLE;
ALTER INDEX t_fates_pkey RENAME TO the_key;
GRANT SELECT ON t TO regress_app;
SET ROLE regress_app;
SELECT told($$UPDATE t SET state = 'won' WHERE id = 2$$);
SELECT told($$SELECT compare_and_swap(null::t, '2', 'open', 'won')$$);
RESET ROLE;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON t USING (true);
SET ROLE regress_app;
SELECT told($$UPDATE t SET state = 'won' WHERE id = 2$$);
RESET ROLE;

-- What a BEFORE trigger makes of a ledger row is compared in all columns, in the
-- set form too, and wherever the trigger came from.
SELECT create_petitions();
INSERT INTO petition_submissions (id, text) SELECT pid(n), 'text' FROM generate_series(1, 20) n;
CREATE FUNCTION alter_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE tg_argv[0]
        WHEN 'from_state' THEN new.from_state := 'DELIBERATING';
        WHEN 'from_null' THEN new.from_state := NULL;
        WHEN 'assigned_at' THEN new.assigned_at := new.assigned_at - interval '1 microsecond';
        WHEN 'assigned_by' THEN new.assigned_by := 'someone else';
        WHEN 'transaction_id' THEN new.transaction_id := '3';
        WHEN 'fate' THEN new.fate := 'REFERRED';
        WHEN 'nothing' THEN NULL;
    END CASE;
    RETURN new;
END $$;
DO $$
DECLARE what text;
BEGIN
    FOREACH what IN ARRAY '{from_state,from_null,assigned_at,assigned_by,transaction_id,fate,nothing}'::text[] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER altering BEFORE INSERT ON petition_submissions_fates FOR EACH ROW EXECUTE FUNCTION alter_row(%L)', what);
        RAISE WARNING '%: %, %, %', what,
            left((SELECT told FROM told($c$SELECT state FROM assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED')$c$) LIMIT 1), 5),
            left((SELECT told FROM told($c$SELECT count(*) FROM assign_fates(ARRAY[pid(2), pid(3)], 'RECEIVED', 'ACKNOWLEDGED')$c$) LIMIT 1), 5),
            left((SELECT told FROM told($c$INSERT INTO petition_submissions (id, text, state) VALUES (gen_random_uuid(), 'x', 'ACKNOWLEDGED')$c$) LIMIT 1), 5);
    END LOOP;
END $$;
DROP TRIGGER altering ON petition_submissions_fates;
-- a trigger on the table that creates it in the middle of a call
CREATE FUNCTION create_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'altering') THEN
        CREATE TRIGGER altering BEFORE INSERT ON petition_submissions_fates FOR EACH ROW EXECUTE FUNCTION alter_row('assigned_by');
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER creating BEFORE UPDATE ON petition_submissions FOR EACH ROW EXECUTE FUNCTION create_it();
SELECT told($$SELECT count(*) FROM assign_fates(ARRAY[pid(5), pid(6)], 'RECEIVED', 'ACKNOWLEDGED')$$);
DROP TRIGGER creating ON petition_submissions;
SELECT * FROM assign_fates(ARRAY[pid(5), pid(6)], 'RECEIVED', 'ACKNOWLEDGED');
SELECT * FROM verify_fates('petition_submissions');

ALTER DEFAULT PRIVILEGES FOR ROLE regress_ann REVOKE ALL ON TABLES FROM regress_app;
ALTER DEFAULT PRIVILEGES FOR ROLE regress_ann IN SCHEMA ledger_owned REVOKE ALL ON TABLES FROM PUBLIC;
SET client_min_messages = error;
DROP SCHEMA ledger_owned CASCADE;
DROP ROLE regress_ann, regress_bob, regress_app;
