-- animaltrack: animals, where they are, and moving many of them at once.
--
-- A small application on rosters.  Load it into a database with
-- CREATE EXTENSION petition_cas; README.md tells the story.

CREATE EXTENSION IF NOT EXISTS btree_gist;	-- for the exclusion constraint

CREATE SCHEMA animaltrack;

CREATE TABLE animaltrack.locations (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL UNIQUE
);

CREATE TABLE animaltrack.animals (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	species text NOT NULL,
	life_stage text NOT NULL,
	sex text NOT NULL,
	origin text NOT NULL
);

-- Where each animal was when.  No animal is in two places at once.
CREATE TABLE animaltrack.animal_location (
	animal_id uuid NOT NULL REFERENCES animaltrack.animals,
	location_id uuid NOT NULL REFERENCES animaltrack.locations,
	during tstzrange NOT NULL CHECK (NOT isempty(during)),
	EXCLUDE USING gist (animal_id WITH =, during WITH &&)
);

-- For the roster of a place: who is there now, and who was there then.
CREATE INDEX ON animaltrack.animal_location (location_id) WHERE upper_inf(during);
CREATE INDEX ON animaltrack.animal_location USING gist (location_id, during);

-- What happened.  Rows are only ever added.
CREATE TABLE animaltrack.events (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	type text NOT NULL,
	at timestamptz NOT NULL,
	actor text NOT NULL,
	entity_refs jsonb NOT NULL,
	payload jsonb NOT NULL
);

CREATE FUNCTION animaltrack.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON animaltrack.events
	FOR EACH STATEMENT EXECUTE FUNCTION animaltrack.refuse_change();

-- The source of rosters.  It only joins, so that its rows can be locked.
CREATE VIEW animaltrack.animal_roster AS
SELECT a.id, a.species, a.life_stage, a.sex, a.origin,
	l.name AS location, l.id AS location_id, p.during
FROM animaltrack.animals AS a
JOIN animaltrack.animal_location AS p ON p.animal_id = a.id
JOIN animaltrack.locations AS l ON l.id = p.location_id;

-- Where each animal stands after its latest event.
CREATE VIEW animaltrack.live_animals_by_location AS
SELECT location_id, location, id AS animal_id, species, life_stage, sex, origin, lower(during) AS since
FROM animaltrack.animal_roster
WHERE upper_inf(during);

-- Adds animals of one kind to a place; returns the AnimalCohortCreated event,
-- whose entity_refs have their ids.
CREATE FUNCTION animaltrack.create_cohort(
	species text, count int, life_stage text, sex text, location_id uuid, origin text,
	at timestamptz, actor text)
RETURNS animaltrack.events
LANGUAGE plpgsql AS $$
DECLARE
	ids uuid[];
	event animaltrack.events;
BEGIN
	IF count IS NULL OR count < 1 THEN
		RAISE EXCEPTION 'a cohort has at least one animal' USING ERRCODE = 'invalid_parameter_value';
	END IF;

	WITH born AS (
		INSERT INTO animaltrack.animals (species, life_stage, sex, origin)
		SELECT create_cohort.species, create_cohort.life_stage, create_cohort.sex, create_cohort.origin
		FROM generate_series(1, create_cohort.count)
		RETURNING id)
	SELECT array_agg(id ORDER BY id) INTO ids FROM born;

	INSERT INTO animaltrack.animal_location (animal_id, location_id, during)
	SELECT id, create_cohort.location_id, tstzrange(create_cohort.at, NULL)
	FROM unnest(ids) AS id;

	INSERT INTO animaltrack.events (type, at, actor, entity_refs, payload)
	VALUES ('AnimalCohortCreated', create_cohort.at, create_cohort.actor,
		jsonb_build_object('animal_ids', ids, 'location_id', create_cohort.location_id),
		jsonb_build_object('species', create_cohort.species, 'count', create_cohort.count,
			'life_stage', create_cohort.life_stage, 'sex', create_cohort.sex,
			'location_id', create_cohort.location_id, 'origin', create_cohort.origin))
	RETURNING * INTO event;
	RETURN event;
END $$;

-- Moves animals to a place as of a moment; returns the AnimalMoved event.
-- All of them move, or none.
CREATE FUNCTION animaltrack.move_animals(ids uuid[], to_location uuid, at timestamptz, actor text)
RETURNS animaltrack.events
LANGUAGE plpgsql AS $$
DECLARE
	distinct_ids uuid[] := ARRAY(SELECT DISTINCT id FROM unnest(ids) AS id ORDER BY id);
	moved bigint;
	event animaltrack.events;
BEGIN
	IF cardinality(distinct_ids) = 0 THEN
		RAISE EXCEPTION 'no animals to move' USING ERRCODE = 'no_data_found';
	END IF;

	-- In the order of the ids, as claim_roster locks: moves do not deadlock.
	PERFORM FROM animaltrack.animal_location AS p
	WHERE p.animal_id = ANY (distinct_ids) AND upper_inf(p.during)
	ORDER BY p.animal_id
	FOR NO KEY UPDATE;

	UPDATE animaltrack.animal_location AS p
	SET during = tstzrange(lower(p.during), move_animals.at)
	WHERE p.animal_id = ANY (distinct_ids) AND upper_inf(p.during) AND lower(p.during) < move_animals.at;
	GET DIAGNOSTICS moved = ROW_COUNT;
	IF moved <> cardinality(distinct_ids) THEN
		RAISE EXCEPTION '% of % animals cannot be moved at %',
				cardinality(distinct_ids) - moved, cardinality(distinct_ids), move_animals.at
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'They are unknown, or have been moved at that moment or later.';
	END IF;

	INSERT INTO animaltrack.animal_location (animal_id, location_id, during)
	SELECT id, move_animals.to_location, tstzrange(move_animals.at, NULL)
	FROM unnest(distinct_ids) AS id;

	INSERT INTO animaltrack.events (type, at, actor, entity_refs, payload)
	VALUES ('AnimalMoved', move_animals.at, move_animals.actor,
		jsonb_build_object('animal_ids', distinct_ids, 'location_id', move_animals.to_location),
		jsonb_build_object('resolved_ids', distinct_ids, 'to_location_id', move_animals.to_location))
	RETURNING * INTO event;
	RETURN event;
END $$;

-- Moves the animals that a filter selects, if they are those that the client
-- saw: the ids and the hash that resolve_roster gave for the same filter with
-- scope => from_location.  Otherwise PF005 with the difference, unless the
-- change is confirmed.
CREATE FUNCTION animaltrack.move_roster(
	filter text, seen_ids text[], seen_hash text, from_location uuid, to_location uuid,
	at timestamptz, actor text, confirmed boolean DEFAULT false)
RETURNS animaltrack.events
LANGUAGE plpgsql AS $$
DECLARE
	claimed record;
BEGIN
	SELECT * INTO claimed
	FROM claim_roster('animaltrack.animal_roster', filter, seen_ids, seen_hash,
		at => at, scope => from_location::text, confirmed => confirmed, period_column => 'during');
	RETURN animaltrack.move_animals(claimed.resolved_ids::uuid[], to_location, at, actor);
END $$;
