//! Nothing of an organization is lost with it: whatever belongs to it keeps it.

use crate::support::{Bed, organization, organizations_permit, user, user_id};
use bifrost_domain::ids::OrganizationId;
use bifrost_storage::organizations::Deletion;
use bifrost_test_support::{TestDatabase, on_both_databases};

on_both_databases![what_belongs_to_an_organization_keeps_it, every_reference_to_an_organization_is_known];

/// Table, what people call its rows, and the columns beside `id`, `organization_id` and `created_at` with their values.
const TABLES: &[(&str, &str, &str, &str)] = &[
    ("roles", "roles", "name, permissions, is_active, updated_at", "'r', '[]', true, $now"),
    (
        "workflows",
        "workflows",
        "name, path, function, definition, source_hash, is_active, updated_at",
        "'w', 'w.py', 'w', '{}', 'h', true, $now",
    ),
    (
        "data_providers",
        "data providers",
        "name, path, function, definition, source_hash, is_active, updated_at",
        "'w', 'w.py', 'w', '{}', 'h', true, $now",
    ),
    (
        "forms",
        "forms",
        "name, form_schema, access_level, is_active, updated_at",
        "'f', '{}', 'public', false, $now",
    ),
    (
        "schedules",
        "schedules",
        "cron_expression, timezone, input, overlap_policy, catch_up_policy, enabled, execution_count, updated_at",
        "'* * * * *', 'UTC', '{}', 'skip', 'none', true, 0, $now",
    ),
    (
        "configs",
        "configuration values",
        "scope, key, type, value, updated_at",
        "'s', 'k', 'string', '1', $now",
    ),
    ("secrets", "secrets", "scope, key, version, ciphertext, key_id", "'s', 'k', 1, '', 'id'"),
    (
        "oauth_providers",
        "OAuth connections",
        "scope, connection_name, oauth_flow_type, client_id, token_url, scopes, status, updated_at",
        "'s', 'c', 'refresh_token', 'i', 'u', '', 'x', $now",
    ),
    (
        "applications",
        "applications",
        "app_id, name, scopes, is_active, rate_limit_per_minute, allow_user_assertion, updated_at",
        "'sync', 'Sync', '[]', true, 60, false, $now",
    ),
    ("workflow_keys", "workflow keys", "workflow_name, hash, prefix", "'greet', '', 'bfwk_abcdefgh'"),
];

fn acme() -> OrganizationId {
    organization(1).organization().expect("an organization")
}

/// What a deletion comes to; it is taken back.
async fn deletion(bed: &Bed) -> Deletion {
    let tx = bed.store.db().begin().await.expect("begin");
    tx.delete_organization(&organizations_permit(bed.now()), acme()).await.expect("asked")
}

/// What keeps it.
async fn kept_by(bed: &Bed) -> Vec<String> {
    match deletion(bed).await {
        Deletion::InUse(what) => what,
        other => panic!("{other:?}"),
    }
}

async fn what_belongs_to_an_organization_keeps_it(db: TestDatabase) {
    let bed = Bed::new(db).await;
    bed.add_organization(1).await;
    bed.add_organization(2).await;
    let id_of = |id: uuid::Uuid| {
        if bed.db.db().is_postgres() { format!("'{id}'") } else { format!("X'{}'", id.simple()) }
    };
    for (table, name, columns, values) in TABLES {
        let now = format!("'{}'", bed.now().to_rfc3339());
        let values = values.replace("$now", &now);
        let (id, home) = (id_of(bed.uuid()), id_of(acme().as_uuid()));
        bed.query(&format!(
            "INSERT INTO {table} (id, organization_id, created_at, {columns}) VALUES ({id}, {home}, {now}, {values})"
        ))
        .await;
        assert_eq!(kept_by(&bed).await, [*name]);
        bed.query(&format!("DELETE FROM {table}")).await;
    }
    let ann = user(user_id(1), organization(1), false, bed.now());
    let tx = bed.store.db().begin().await.expect("begin");
    tx.insert_user(&ann, None).await.expect("made");
    tx.commit().await.expect("commit");
    assert_eq!(kept_by(&bed).await, ["people"]);
    bed.query("DELETE FROM users").await;

    // Executions refer to nothing: the deletion asks, and so does their insert.
    let mut run = bed.pending();
    run.scope = organization(1);
    let mut other = bed.pending();
    other.scope = organization(2);
    bed.submit(&other).await;
    assert_eq!(deletion(&bed).await, Deletion::Done { memberships: 0, keys: 0 });
    bed.submit(&run).await;
    assert_eq!(kept_by(&bed).await, ["executions"]);
}

async fn every_reference_to_an_organization_is_known(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let rows = bed
        .query(if bed.db.db().is_postgres() {
            "SELECT conrelid::regclass::text || ' ' || confdeltype::text AS line FROM pg_constraint \
             WHERE confrelid = 'organizations'::regclass ORDER BY 1"
        } else {
            "SELECT m.name || ' ' || CASE f.on_delete WHEN 'RESTRICT' THEN 'r' ELSE f.on_delete END AS line \
             FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f \
             WHERE m.type = 'table' AND f.\"table\" = 'organizations' ORDER BY 1"
        })
        .await;
    let found: Vec<String> = rows.iter().map(|row| row.try_get("", "line").expect("a line")).collect();
    let mut expected: Vec<String> = TABLES.iter().map(|(table, ..)| format!("{table} r")).collect();
    expected.push("users r".to_owned());
    // Memberships and the keys of people go with their organization; what stands below keeps it (SQLite: by the statements alone).
    let cascade = if bed.db.db().is_postgres() { "c" } else { "CASCADE" };
    expected.extend([(); 2].map(|()| format!("memberships {cascade}")));
    expected.push(format!("sdk_keys {cascade}"));
    if bed.db.db().is_postgres() {
        expected.push("organizations r".to_owned());
    }
    expected.sort();
    assert_eq!(found, expected);
}
