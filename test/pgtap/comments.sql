-- Every object of the extension says what it is for.
begin;
select plan(2);

-- An array type comes with its element type, and cannot have a comment.
create temporary view members as
    select classid, objid, pg_describe_object(classid, objid, objsubid) as member
    from pg_depend
    where refclassid = 'pg_extension'::regclass
        and refobjid = (select oid from pg_extension where extname = 'petition_cas')
        and deptype = 'e'
        and not (classid = 'pg_type'::regclass
            and objid in (select oid from pg_type where typcategory = 'A'));

select isnt_empty('select from members', 'the extension has members');

select is_empty(
    $$ select member from members
       where obj_description(objid, classid::regclass::name) is null
       order by member $$,
    'each member of the extension has a comment');

select * from finish();
rollback;
