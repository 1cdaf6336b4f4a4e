\ir ../rivals/3_plpgsql.setup.sql
CREATE FUNCTION try_decide(petition uuid, expected text, new_state text, OUT outcome text, OUT current_state text)
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE petition_submissions SET state = new_state, updated_at = now()
    WHERE id = petition AND state = expected;
    IF FOUND THEN
        outcome := 'assigned';
        current_state := new_state;
    ELSE
        SELECT state INTO current_state FROM petition_submissions WHERE id = petition;
        outcome := 'lost';
    END IF;
END $$;
