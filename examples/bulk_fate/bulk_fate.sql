-- A bulk fate under roster validation, for psql: a clerk acknowledges all the
-- petitions that were on the screen, or none of them. README.md shows it.

\set ON_ERROR_STOP on
SELECT create_petitions();
INSERT INTO petition_submissions (id, type, text, realm)
SELECT lpad(i::text, 32, '0')::uuid, 'ROADS', 'Mend the road, number ' || i, CASE WHEN i <= 4 THEN 'north' ELSE 'south' END
FROM generate_series(1, 6) AS i;
UPDATE petition_submissions SET state = 'DELIBERATING';

\echo The clerk looks at the petitions of the north that are being deliberated.
SELECT resolved_ids AS ids, roster_hash AS hash, cardinality(resolved_ids) AS seen
FROM resolve_roster('petition_submissions', 'state:DELIBERATING realm:north') \gset
\echo :seen petitions

\echo Meanwhile one of them is escalated.
SELECT state FROM assign_fate((:'ids'::uuid[])[1], 'DELIBERATING', 'ESCALATED');

\echo The clerk acknowledges all that were seen, in one statement, and is refused:
\set ON_ERROR_STOP off
SELECT outcome, count(*) FROM assign_fates((
	SELECT resolved_ids FROM claim_roster('petition_submissions', 'state:DELIBERATING realm:north', :'ids', :'hash'))::uuid[],
	'DELIBERATING', 'ACKNOWLEDGED') GROUP BY outcome;
\echo SQLSTATE :LAST_ERROR_SQLSTATE
\set ON_ERROR_STOP on

\echo What has changed, and the petitions as they are now:
SELECT added, removed, cardinality(resolved_ids) AS left,
	resolved_ids AS new_ids, roster_hash AS new_hash
FROM validate_roster('petition_submissions', 'state:DELIBERATING realm:north', :'ids', :'hash') \gset
\echo added :added removed :removed left :left

\echo The clerk has seen that, and submits the new ids with their hash:
SELECT outcome, count(*) FROM assign_fates((
	SELECT resolved_ids FROM claim_roster('petition_submissions', 'state:DELIBERATING realm:north', :'new_ids', :'new_hash'))::uuid[],
	'DELIBERATING', 'ACKNOWLEDGED') GROUP BY outcome;

\echo In the end:
SELECT realm, state, count(*) FROM petition_submissions GROUP BY realm, state ORDER BY realm, state;
SELECT fate, count(*) FROM petition_submissions_fates GROUP BY fate ORDER BY fate;
