-- a ledger filled by hand
CREATE TABLE petition_submissions_fates (
    id uuid PRIMARY KEY,
    from_state text,
    fate text NOT NULL,
    assigned_at timestamptz NOT NULL,
    assigned_by text NOT NULL,
    transaction_id xid8 NOT NULL,
    reason text,
    request_id text,
    evidence_hash text
);
INSERT INTO petition_submissions_fates
SELECT id, NULL, state, now(), session_user, pg_current_xact_id() FROM petition_submissions
WHERE state IN ('ACKNOWLEDGED', 'REFERRED', 'ESCALATED');
