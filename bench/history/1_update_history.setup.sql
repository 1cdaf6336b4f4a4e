-- The petitions of the rivals, with ledger and history: column by column and index by
-- index what govern creates, without its triggers.
\ir ../petitions.sql
CREATE TABLE petition_submissions_history (
    id uuid NOT NULL,
    from_state text,
    to_state text NOT NULL,
    moved_at timestamptz NOT NULL,
    moved_by text NOT NULL,
    transaction_id xid8 NOT NULL,
    reason text,
    request_id text
);
CREATE INDEX ON petition_submissions_history (id);
