\ir ../rivals/3_plpgsql.setup.sql
