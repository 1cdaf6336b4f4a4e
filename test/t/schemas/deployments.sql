-- Deployments, with large numbers for states, and a trigger of the application's own.
CREATE TABLE deployments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    service text NOT NULL,
    state bigint NOT NULL DEFAULT 1000000000000,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION touch_deployment() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.updated_at := now(); RETURN new; END';
CREATE TRIGGER touch BEFORE UPDATE ON deployments FOR EACH ROW EXECUTE FUNCTION touch_deployment();
SELECT govern('deployments', '{"1000000000000": ["1000000000001"], "1000000000001": ["2000000000000", "3000000000000"]}',
              initial_states => '{1000000000000}');
INSERT INTO deployments (service) SELECT 'service ' || n FROM generate_series(1, 13) n;
UPDATE deployments SET state = 1000000000001;
