-- A trigger that only looks whether the state is known.
\ir ../petitions.sql
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state NOT IN ('RECEIVED', 'DELIBERATING', 'ACKNOWLEDGED', 'REFERRED', 'ESCALATED') THEN
        RAISE 'petition % is in an unknown state, %', NEW.id, NEW.state;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER guard AFTER INSERT ON petition_submissions FOR EACH ROW EXECUTE FUNCTION guard();
