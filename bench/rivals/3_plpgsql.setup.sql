-- What a team writes that wants the guarantee without an extension: the graph
-- in a trigger, which also writes the ledger, and a function that says why.
\ir ../petitions.sql

CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = OLD.state THEN
        RETURN NULL;
    END IF;
    IF NOT (OLD.state = 'RECEIVED' AND NEW.state IN ('DELIBERATING', 'ACKNOWLEDGED')
            OR OLD.state = 'DELIBERATING' AND NEW.state IN ('ACKNOWLEDGED', 'REFERRED', 'ESCALATED')) THEN
        RAISE 'petition % cannot go from % to %', OLD.id, OLD.state, NEW.state;
    END IF;
    IF NEW.state IN ('ACKNOWLEDGED', 'REFERRED', 'ESCALATED') THEN
        INSERT INTO petition_submissions_fates
            (id, from_state, fate, assigned_at, assigned_by, transaction_id)
        VALUES (NEW.id, OLD.state, NEW.state, now(), session_user, pg_current_xact_id());
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER guard AFTER UPDATE ON petition_submissions FOR EACH ROW EXECUTE FUNCTION guard();

CREATE FUNCTION decide(petition uuid, expected text, new_state text, reason text DEFAULT NULL)
RETURNS petition_submissions LANGUAGE plpgsql AS $$
DECLARE
    decided petition_submissions;
    current text;
BEGIN
    UPDATE petition_submissions SET state = new_state, updated_at = now(),
        fate_reason = coalesce(reason, fate_reason)
    WHERE id = petition AND state = expected
    RETURNING * INTO decided;
    IF NOT FOUND THEN
        SELECT state INTO current FROM petition_submissions WHERE id = petition;
        RAISE 'petition % is in state %, not %', petition, current, expected;
    END IF;
    RETURN decided;
END $$;
