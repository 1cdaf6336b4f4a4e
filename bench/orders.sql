-- A table of which a tenant and a number are the key and an integer is the state,
-- and the ledger of the rivals that bring their own guarantee or none: column by
-- column what govern() creates.
CREATE TABLE orders (
    tenant integer,
    id bigint,
    state integer NOT NULL DEFAULT 1,
    customer text NOT NULL,
    total numeric(12, 2) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 90);

CREATE TABLE orders_fates (
    tenant integer,
    id bigint,
    from_state text,
    fate text NOT NULL,
    assigned_at timestamptz NOT NULL,
    assigned_by text NOT NULL,
    transaction_id xid8 NOT NULL,
    reason text,
    request_id text,
    evidence_hash text,
    PRIMARY KEY (tenant, id)
);
