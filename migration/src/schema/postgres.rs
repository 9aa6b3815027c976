//! Describes a schema of PostgreSQL from its catalog.

use super::{Schema, collapsed, plain_expression};
use crate::error::Error;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement};

/// The relations of the current schema that stand for themselves, each with the name of its owner in a description.
const RELATIONS: &str = "
WITH home AS (SELECT oid FROM pg_namespace WHERE nspname = current_schema()),
extended AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
rel AS (
    SELECT c.oid, c.relkind, (CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'S' THEN 'sequence '
        WHEN 'f' THEN 'foreign table ' WHEN 'c' THEN 'type ' ELSE 'table ' END) || c.relname AS owner
    FROM pg_class c JOIN home ON c.relnamespace = home.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND NOT c.relispartition AND c.relname <> 'schema_migrations'
        AND NOT EXISTS (SELECT FROM extended e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid)
        -- the sequence of a column belongs to the column
        AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
            AND d.deptype IN ('a', 'i')))
),
func AS (
    SELECT p.*, 'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS owner
    FROM pg_proc p JOIN home ON p.pronamespace = home.oid
    WHERE p.prokind IN ('f', 'p') AND NOT EXISTS (SELECT FROM extended e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid)
),
word AS (
    SELECT t.*, 'type ' || t.typname AS owner FROM pg_type t JOIN home ON t.typnamespace = home.oid
    WHERE t.typtype IN ('e', 'd') AND NOT EXISTS (SELECT FROM extended e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid)
)";

const DESCRIPTION: &str = "
SELECT owner, '' AS part, CASE WHEN relkind = 'p' THEN 'partitioned by ' || lower(pg_get_partkeydef(oid))
    WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) ELSE '' END AS how FROM rel
UNION ALL
SELECT owner, 'column ' || a.attname, format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ', not null' ELSE '' END
    || CASE WHEN a.attidentity <> '' THEN ', identity' ELSE '' END
    || coalesce(CASE WHEN a.attgenerated <> '' THEN ', generated ' ELSE ', default ' END || pg_get_expr(d.adbin, d.adrelid), '')
FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE relkind IN ('r', 'p', 'f', 'c')
UNION ALL
SELECT owner, CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique (' || own.names || ')'
    WHEN 'f' THEN 'foreign key (' || own.names || ')' ELSE 'check ' || pg_get_expr(k.conbin, k.conrelid) END,
    CASE k.contype WHEN 'p' THEN '(' || own.names || ')'
    WHEN 'f' THEN (SELECT relname FROM pg_class WHERE pg_class.oid = k.confrelid) || ' (' || theirs.names || ')'
        || CASE k.confdeltype WHEN 'r' THEN ', on delete restrict' WHEN 'c' THEN ', on delete cascade'
            WHEN 'n' THEN ', on delete set null' WHEN 'd' THEN ', on delete set default' ELSE '' END
        || CASE k.confupdtype WHEN 'r' THEN ', on update restrict' WHEN 'c' THEN ', on update cascade'
            WHEN 'n' THEN ', on update set null' WHEN 'd' THEN ', on update set default' ELSE '' END
    ELSE '' END || CASE WHEN k.convalidated THEN '' ELSE ', not valid' END
FROM rel JOIN pg_constraint k ON k.conrelid = rel.oid AND k.contype IN ('p', 'u', 'f', 'c')
LEFT JOIN LATERAL (SELECT string_agg(a.attname, ', ' ORDER BY u.place) AS names FROM unnest(k.conkey) WITH ORDINALITY AS u(number, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number) own ON true
LEFT JOIN LATERAL (SELECT string_agg(a.attname, ', ' ORDER BY u.place) AS names FROM unnest(k.confkey) WITH ORDINALITY AS u(number, place)
    JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number) theirs ON true
UNION ALL
SELECT owner, 'index ' || c.relname, CASE WHEN i.indisunique THEN 'unique ' ELSE '' END
    || CASE WHEN m.amname = 'btree' THEN '' ELSE m.amname || ' ' END || '('
    || (SELECT string_agg(pg_get_indexdef(i.indexrelid, n, true) || CASE WHEN i.indoption[n - 1] & 1 = 1 THEN ' desc' ELSE '' END, ', '
        ORDER BY n) FROM generate_series(1, i.indnkeyatts::int) AS n) || ')'
    || coalesce((SELECT ' include (' || string_agg(pg_get_indexdef(i.indexrelid, n, true), ', ' ORDER BY n) || ')'
        FROM generate_series(i.indnkeyatts + 1, i.indnatts::int) AS n), '')
    || coalesce(' where ' || pg_get_expr(i.indpred, i.indrelid), '') || CASE WHEN i.indisvalid THEN '' ELSE ', not valid' END
FROM rel JOIN pg_index i ON i.indrelid = rel.oid JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT rel.owner, 'trigger ' || t.tgname, CASE WHEN t.tgtype & 2 = 2 THEN 'before' WHEN t.tgtype & 64 = 64 THEN 'instead of' ELSE 'after' END
    || CASE WHEN t.tgtype & 4 = 4 THEN ' insert' ELSE '' END || CASE WHEN t.tgtype & 8 = 8 THEN ' delete' ELSE '' END
    || CASE WHEN t.tgtype & 16 = 16 THEN ' update' ELSE '' END || CASE WHEN t.tgtype & 32 = 32 THEN ' truncate' ELSE '' END
    || CASE WHEN t.tgtype & 1 = 1 THEN ', for each row' ELSE '' END || ', ' || p.proname || '()'
    || coalesce(', when ' || substring(pg_get_triggerdef(t.oid, true) FROM 'WHEN \\((.*)\\) EXECUTE '), '')
    || CASE WHEN t.tgenabled = 'D' THEN ', disabled' ELSE '' END
FROM rel JOIN pg_trigger t ON t.tgrelid = rel.oid AND NOT t.tgisinternal JOIN pg_proc p ON p.oid = t.tgfoid
UNION ALL
SELECT owner, '', coalesce('returns ' || pg_get_function_result(func.oid) || ', ', '') || 'language ' || l.lanname || ': ' || prosrc
FROM func JOIN pg_language l ON l.oid = func.prolang
UNION ALL
SELECT owner, '', CASE typtype WHEN 'd' THEN 'domain over ' || format_type(typbasetype, typtypmod)
    ELSE 'enum (' || (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = word.oid) || ')' END
FROM word";

/// A description of the current schema.
pub(super) async fn describe(connection: &DatabaseConnection) -> Result<Schema, Error> {
    let mut schema = Schema::default();
    for row in rows(connection, &format!("{RELATIONS}{DESCRIPTION}")).await? {
        let text = |column| row.try_get::<String>("", column);
        let (owner, part, how) = (text("owner")?, text("part")?, text("how")?);
        let part = match part.strip_prefix("check ") {
            Some(expression) => format!("check {}", plain_expression(expression)),
            None => part,
        };
        let how = match how.split_once(" where ") {
            Some((index, condition)) if part.starts_with("index ") => {
                format!("{index} where {}", plain_expression(condition))
            }
            _ => collapsed(&how),
        };
        schema.add(&owner, &part, &how);
    }
    Ok(schema)
}

/// An object that can be dropped.
pub(crate) struct Object {
    /// Its owner's name in a description.
    pub(crate) owner: String,
    /// What to drop, as `DROP` wants it: `TABLE`, and the quoted name.
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// Everything of the current schema that has to be dropped on its own, in an order in which that works (tables go in one statement).
pub(crate) async fn objects(connection: &DatabaseConnection) -> Result<Vec<Object>, Error> {
    const OBJECTS: &str = "
        SELECT * FROM (
            SELECT owner, CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
                WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END AS kind, oid::regclass::text AS name FROM rel
            UNION ALL SELECT owner, CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, oid::regprocedure::text FROM func
            UNION ALL SELECT owner, CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, oid::regtype::text FROM word
        ) AS found
        ORDER BY array_position(ARRAY['VIEW', 'MATERIALIZED VIEW', 'TABLE', 'FOREIGN TABLE', 'SEQUENCE', 'FUNCTION', 'PROCEDURE', 'DOMAIN',
            'TYPE'], kind), name";
    let found = rows(connection, &format!("{RELATIONS}{OBJECTS}")).await?;
    let object = |row: &QueryResult| -> Result<Object, Error> {
        let text = |column| row.try_get::<String>("", column);
        Ok(Object { owner: text("owner")?, kind: text("kind")?, name: text("name")? })
    };
    found.iter().map(object).collect()
}

/// The quoted names of the partitions of the current schema's tables; with `parents` also those that were detached from one of them.
pub(crate) async fn partitions(
    connection: &DatabaseConnection,
    parents: &[&str],
) -> Result<Vec<String>, Error> {
    const ATTACHED: &str = "SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.relispartition AND c.relkind IN ('r', 'p')
        AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())";
    const DETACHED: &str =
        "UNION SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'r' AND NOT c.relispartition
        AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
        AND c.relname ~ '^.+_p[0-9]{8}$' AND left(c.relname, -10) = ANY (string_to_array($1, ','))";
    let sql = format!("{ATTACHED} {DETACHED} ORDER BY 1");
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [parents.join(",").into()]);
    let found = connection.query_all(statement).await?;
    found.iter().map(|row| Ok(row.try_get("", "name")?)).collect()
}

async fn rows(connection: &DatabaseConnection, sql: &str) -> Result<Vec<QueryResult>, Error> {
    Ok(connection.query_all(Statement::from_string(DbBackend::Postgres, sql)).await?)
}
