\ir ../history/2_swap.setup.sql
