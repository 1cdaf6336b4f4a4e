\ir 2_swap.setup.sql
