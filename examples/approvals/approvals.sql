-- An approval desk: agents file requests, people decide them.
--
-- Load it as a superuser into a database with CREATE EXTENSION petition_cas;
-- README.md shows it at work.  A real application would create the roles once,
-- outside of its schema.

\set ON_ERROR_STOP on
CREATE ROLE approvals_owner;		-- owns the tables; nobody logs in as it
CREATE ROLE desk LOGIN;				-- the application
CREATE SCHEMA approvals AUTHORIZATION approvals_owner;
ALTER ROLE desk SET search_path = approvals, public;

SET ROLE approvals_owner;
SET search_path = approvals, public;

-- An enum, so that a filter with a misspelt state is an error.
CREATE TYPE request_state AS ENUM ('pending', 'approved', 'rejected');

CREATE TABLE requests (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	agent text NOT NULL CHECK (agent <> ''),
	tool text NOT NULL CHECK (tool <> ''),
	arguments jsonb NOT NULL CHECK (jsonb_typeof(arguments) = 'object'),
	amount numeric CHECK (amount BETWEEN 0 AND 1000000000),
	note text NOT NULL DEFAULT '',
	state request_state NOT NULL DEFAULT 'pending',
	filed_at timestamptz NOT NULL DEFAULT now()
);

-- What an approval is given to.  A note may be added at any time.
SELECT govern('requests', '{"pending": ["approved", "rejected"]}',
	initial_states => '{pending}', evidence => '{agent,tool,arguments,amount}');

-- To find what a call that is sent again had decided.
CREATE INDEX ON requests_fates (request_id);

-- The source of rosters: its key says which request, and what it held.  So a
-- roster of it changes when a request joins, leaves, or is revised.
CREATE VIEW requests_as_seen WITH (security_invoker) AS
SELECT row_key(r) || ' ' || evidence_hash(r) AS seen, r.*
FROM requests AS r;

-- All that the application may do.  It does not delete, and it does not touch
-- the ledger, which the guard writes.
GRANT USAGE ON SCHEMA approvals TO desk;
GRANT SELECT ON requests, requests_fates, requests_as_seen TO desk;
GRANT INSERT (agent, tool, arguments, amount, note) ON requests TO desk;
GRANT UPDATE (arguments, amount, note, state) ON requests TO desk;
GRANT UPDATE (seen) ON requests_as_seen TO desk;	-- claims lock the rows; nobody can set this column

INSERT INTO requests (agent, tool, arguments, amount, note) VALUES
	('accounts', 'transfer', '{"to": "Zoë Lindqvist", "iban": "SE35 5000 0000 0549 1000 0003"}', 99.50, 'Travel, March'),
	('accounts', 'transfer', '{"to": "Oak & Sons", "iban": "GB29 NWBK 6016 1331 9268 19"}', 1240.00, 'Invoice 2026-118'),
	('accounts', 'transfer', '{"to": "City Water", "iban": "DE89 3704 0044 0532 0130 00"}', 310.75, 'February'),
	('support', 'refund', '{"order": 90071, "to": "card"}', 42.00, 'Arrived broken'),
	('support', 'refund', '{"order": 90118, "to": "voucher"}', 15.90, ''),
	('release', 'deploy', '{"service": "checkout", "version": "4.2.0", "to": "production"}', NULL, 'Tests are green'),
	('release', 'drop_table', '{"database": "reports", "table": "sessions_2023"}', NULL, 'Not read for a year');

RESET ROLE;
RESET search_path;
