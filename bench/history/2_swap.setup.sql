\ir ../petitions.sql
DROP TABLE petition_submissions_fates;
