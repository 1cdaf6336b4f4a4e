-- Events, partitioned by day, with the time in the key. A day may be dropped as a whole.
CREATE TABLE alarms (
    inserted_at timestamptz NOT NULL,
    id bigint NOT NULL,
    sensor text NOT NULL,
    handling text NOT NULL DEFAULT 'raised',
    handled_by text,
    PRIMARY KEY (inserted_at, id)
) PARTITION BY RANGE (inserted_at);
CREATE TABLE alarms_20260301 PARTITION OF alarms FOR VALUES FROM ('2026-03-01') TO ('2026-03-02');
CREATE TABLE alarms_20260302 PARTITION OF alarms FOR VALUES FROM ('2026-03-02') TO ('2026-03-03');
CREATE TABLE alarms_later PARTITION OF alarms DEFAULT;
SELECT govern('alarms', '{"raised": ["handled", "false alarm"]}', state_column => 'handling');
INSERT INTO alarms SELECT timestamptz '2026-03-01' + n * interval '5 hours 100 microseconds', n % 3, 'door' FROM generate_series(1, 13) n;
