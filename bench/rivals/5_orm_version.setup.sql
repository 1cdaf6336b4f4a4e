\ir ../petitions.sql
ALTER TABLE petition_submissions ADD COLUMN version integer NOT NULL DEFAULT 0;
