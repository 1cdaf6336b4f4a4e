-- lifecycle_diagram draws the lifecycle as a Mermaid stateDiagram-v2.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_lifecycle_diagram;
SET search_path = test_lifecycle_diagram, public;

SELECT create_petitions();
SELECT lifecycle_diagram('petition_submissions');

CREATE TABLE odd (id int PRIMARY KEY, state text);
SELECT govern('odd', '{"open": ["in work", "end", "a:b"], "in work": ["\"done\"", "#1; --> X", "<b>"], "Über": ["back\\slash"]}');
SELECT lifecycle_diagram('odd');

-- Nothing but a fate; and a cycle that nothing leads to.
CREATE TABLE lone (id int PRIMARY KEY, state text);
SELECT govern('lone', '{"ONLY": []}');
SELECT lifecycle_diagram('lone');
CREATE TABLE circle (id int PRIMARY KEY, state text);
SELECT govern('circle', '{"A": ["B"], "B": ["A", "END_1"]}');
SELECT lifecycle_diagram('circle');
CREATE TABLE lines (id int PRIMARY KEY, state text);
SELECT govern('lines', jsonb_build_object(E'two\nlines', jsonb_build_array(E'tab\there', 'S2', 's2')));
SELECT lifecycle_diagram('lines');
-- Words that Mermaid keeps for itself, in capitals too, and such that it does not.
CREATE TABLE words (id int PRIMARY KEY, state text);
SELECT govern('words', '{"STATE": ["NOTE", "CLASS", "STYLE", "SCALE", "CLICK", "DEFAULT", "CLASSDEF", "HREF", "STATEDIAGRAM", "STATEMENT", "NOTE_1"]}');
SELECT lifecycle_diagram('words');
-- In the order in which the states are reached, not that of the JSON's keys; and
-- names that begin with something else than a letter.
CREATE TABLE deep (id int PRIMARY KEY, state text);
SELECT govern('deep', '{"A": ["X", "C"], "C": ["1ST"], "X": ["_LAST", "Z", "A9"]}');
SELECT lifecycle_diagram('deep');
