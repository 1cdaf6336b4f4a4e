-- Settings of tenants, each proposed once and then in force or dropped.
CREATE TABLE tenants (id integer PRIMARY KEY, name text NOT NULL);
INSERT INTO tenants VALUES (1, 'north'), (2, 'south');
CREATE TABLE settings (
    tenant integer NOT NULL REFERENCES tenants ON DELETE RESTRICT,
    id bigint NOT NULL,
    name text NOT NULL,
    value jsonb NOT NULL,
    phase smallint NOT NULL DEFAULT 0 CHECK (phase BETWEEN 0 AND 2),
    PRIMARY KEY (tenant, id)
);
SELECT govern('settings', '{"0": ["1", "2"]}', state_column => 'phase');
INSERT INTO settings SELECT 1 + n % 2, n, 'colour', to_jsonb(n) FROM generate_series(1, 13) n;
