-- The petitions and the ledger of the rivals that bring their own guarantee or
-- none: column by column, constraint by constraint and fillfactor what
-- create_petitions() creates, without its triggers.
CREATE TABLE petition_submissions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    type text NOT NULL DEFAULT 'GENERAL',
    text varchar(10000) NOT NULL,
    submitter_id uuid,
    state text NOT NULL DEFAULT 'RECEIVED',
    content_hash bytea CHECK (octet_length(content_hash) = 32),
    realm text NOT NULL DEFAULT 'default',
    fate_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 90);

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
