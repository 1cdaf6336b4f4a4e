SELECT create_petitions();
CREATE INDEX ON petition_submissions_fates (transaction_id);
CREATE INDEX ON petition_submissions_fates USING brin (assigned_at);
