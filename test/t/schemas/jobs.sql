-- A queue of jobs: an enum, a CHECK that couples state and timestamp, and a cleaner that
-- deletes what is finished. The fates outlive the rows.
CREATE TYPE job_status AS ENUM ('queued', 'running', 'succeeded', 'failed');
CREATE TABLE jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL DEFAULT 'default',
    payload jsonb NOT NULL,
    status job_status NOT NULL DEFAULT 'queued',
    finished_at timestamptz,
    error text,
    CHECK ((status IN ('succeeded', 'failed')) = (finished_at IS NOT NULL))
);
CREATE INDEX ON jobs (queue, id) WHERE status = 'queued';
SELECT govern('jobs', '{"queued": ["running"], "running": ["queued", "succeeded", "failed"]}', state_column => 'status',
              initial_states => '{queued}', keep_rows => false);
INSERT INTO jobs (payload) SELECT jsonb_build_object('mail', n) FROM generate_series(1, 13) n;
UPDATE jobs SET status = 'running';
