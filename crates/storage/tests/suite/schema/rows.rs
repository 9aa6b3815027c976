//! A row in every table, and all rows of a table as text.

use crate::support::{Bed, uuid_at};
use bifrost_migration::Schema;
use chrono::Duration;

/// For each table its columns and a row. `{1}` is an id, `{run}` the id of an execution of today, `{now}` a time.
const ROWS: &[(&str, &str, &str)] = &[
    (
        "organizations",
        "id, name, domain, is_active, settings, created_at, updated_at",
        r#"{1}, 'Acme', 'acme.example', true, '{"a": 1}', {now}, {now}"#,
    ),
    (
        "users",
        "id, email, name, password_hash, user_type, organization_id, is_active, is_superuser, is_verified, is_registered, \
         mfa_enabled, epoch, created_at, updated_at",
        "{2}, 'ann@acme.example', 'Ann Ødegård', 'hash', 'ORG', {1}, true, false, true, true, false, 3, {now}, {now}",
    ),
    (
        "roles",
        "id, organization_id, name, permissions, is_active, created_at, updated_at",
        "{3}, {1}, 'operators', '[]', true, {now}, {now}",
    ),
    ("user_roles", "user_id, role_id, assigned_at", "{2}, {3}, {now}"),
    (
        "memberships",
        "user_id, organization_id, via, role, source, attributes, created_at, updated_at",
        r#"{2}, {1}, {1}, 'member', 'direct', '{"department": "Sales"}', {now}, {now}"#,
    ),
    (
        "external_refs",
        "source, kind, external_id, internal_id, created_at, updated_at",
        "'entra', 'user', 'a-1', {2}, {now}, {now}",
    ),
    (
        "sessions",
        "id, user_id, epoch, created_at, last_used_at, expires_at",
        "{4}, {2}, 3, {now}, {now}, {now}",
    ),
    ("refresh_tokens", "id, session_id, issued_at, expires_at", "{5}, {4}, {now}, {now}"),
    (
        "audit_logs",
        "id, at, organization_id, actor_id, action, resource_type, outcome, detail",
        r#"{6}, {now}, {1}, {2}, 'user.create', 'user', 'success', '{"x": null}'"#,
    ),
    (
        "workflows",
        "id, organization_id, name, path, function, definition, source_hash, is_active, created_at, updated_at",
        "{7}, {1}, 'greet', 'greet.py', 'greet', '{}', 'h', true, {now}, {now}",
    ),
    (
        "data_providers",
        "id, name, path, function, definition, source_hash, is_active, created_at, updated_at",
        "{8}, 'towns', 'towns.py', 'towns', '{}', 'h', true, {now}, {now}",
    ),
    (
        "forms",
        "id, organization_id, name, workflow_id, form_schema, access_level, is_active, created_at, updated_at",
        "{9}, {1}, 'Greeting', {7}, '{}', 'role_based', true, {now}, {now}",
    ),
    ("form_roles", "form_id, role_id, assigned_at", "{9}, {3}, {now}"),
    (
        "schedules",
        "id, organization_id, workflow_id, cron_expression, timezone, input, overlap_policy, catch_up_policy, enabled, \
         execution_count, created_at, updated_at",
        "{10}, {1}, {7}, '0 6 * * *', 'Europe/Oslo', '{}', 'skip', 'last', true, 12, {now}, {now}",
    ),
    (
        "executions",
        "id, kind, organization_id, workflow_id, workflow_name, executed_by, executed_by_name, executed_by_email, \
         is_platform_admin, status, attempt, input, timeout_seconds, created_at, dispatch_count, last_sequence, result_type, cpu_seconds",
        "{run}, 'workflow', {1}, {7}, 'greet', {2}, 'Ann', 'ann@acme.example', false, 'Running', 1, '{\"n\": 1}', 60, {now}, 1, 1, \
         'json', 0.25",
    ),
    (
        "execution_events",
        "execution_id, at, attempt, event, detail",
        r#"{run}, {now}, 1, 'claimed', '{"worker": 1}'"#,
    ),
    (
        "execution_logs",
        "execution_id, sequence, attempt, level, message, logged_at",
        "{run}, 1, 1, 'INFO', 'a line', {now}",
    ),
    (
        "execution_variables",
        "execution_id, attempt, version, variables, updated_at",
        "{run}, 1, 2, '{}', {now}",
    ),
    (
        "execution_metrics_daily",
        "date, scope, workflow_name, success_count, completed_with_errors_count, failed_count, timeout_count, cancelled_count, \
         duration_ms_sum, duration_ms_max, cpu_seconds_sum, peak_memory_bytes_max, le_10_ms, le_25_ms, le_50_ms, le_100_ms, le_250_ms, \
         le_500_ms, le_1_s, le_2500_ms, le_5_s, le_10_s, le_30_s, le_1_min, le_5_min, le_15_min, le_1_h, over_1_h",
        "'2026-11-20', 'GLOBAL', 'greet', 1, 2, 3, 4, 5, 6, 7, 0.5, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0",
    ),
    (
        "workers",
        "id, name, version, slots, info, started_at, lease_until",
        "{11}, 'host:1', '0.1.0', 4, '{}', {now}, {now}",
    ),
    ("leases", "name, holder, until", "'relay', {11}, {now}"),
    (
        "configs",
        "id, organization_id, scope, key, type, ciphertext, key_id, created_at, updated_at",
        "{12}, {1}, 'o', 'token', 'secret', {bytes}, 'k1', {now}, {now}",
    ),
    (
        "secrets",
        "id, organization_id, scope, key, version, ciphertext, key_id, created_at",
        "{13}, {1}, 'o', 'password', 1, {bytes}, 'k1', {now}",
    ),
    (
        "oauth_providers",
        "id, organization_id, scope, connection_name, oauth_flow_type, client_id, token_url, scopes, status, created_at, updated_at",
        "{14}, {1}, 'o', 'graph', 'client_credentials', 'c', 'https://login.example', 'a b', 'ok', {now}, {now}",
    ),
    (
        "oauth_tokens",
        "id, provider_id, access_token, key_id, created_at, updated_at",
        "{15}, {14}, {bytes}, 'k1', {now}, {now}",
    ),
    (
        "totp_factors",
        "user_id, ciphertext, key_id, confirmed_at, last_step, tries, tries_since, created_at",
        "{2}, {bytes}, 'k1', {now}, 59000000, 1, {now}, {now}",
    ),
    ("recovery_codes", "user_id, hash, created_at, used_at", "{2}, {bytes}, {now}, {now}"),
    ("mfa_challenges", "id, user_id, tries, expires_at", "{5}, {2}, 3, {now}"),
    (
        "trusted_devices",
        "id, user_id, hash, epoch, user_agent, created_at, last_used_at, expires_at",
        "{5}, {2}, {bytes}, 3, 'a browser', {now}, {now}, {now}",
    ),
    ("avatars", "user_id, content, etag, updated_at", "{2}, {bytes}, 'e1', {now}"),
    ("branding", "id, name, primary_color, updated_by, updated_at", "1, 'Acme', '#0066cc', {2}, {now}"),
    ("branding_logos", "kind, content, etag, updated_at", "'square', {bytes}, 'e1', {now}"),
    (
        "identity_providers",
        "id, name, display_name, kind, issuer, client_id, client_secret, key_id, is_active, rules, created_at, updated_at",
        "{14}, 'entra', 'Microsoft', 'entra', 'https://login.example', 'c', {bytes}, 'k1', true, '{\"jit_enabled\": true}', {now}, {now}",
    ),
    (
        "external_identities",
        "provider_id, subject, user_id, email, linked_at, last_used_at",
        "{14}, 't:o', {2}, 'ann@acme.example', {now}, {now}",
    ),
    (
        "oidc_states",
        "hash, binding, provider_id, nonce, verifier, key_id, link_session_id, expires_at",
        "{bytes}, {bytes}, {14}, 'n', {bytes}, 'k1', {4}, {now}",
    ),
    (
        "idempotency_keys",
        "hash, fingerprint, status, reply, created_at",
        "{bytes}, {bytes}, 201, '{}', {now}",
    ),
    ("live_tickets", "hash, user_id, session_id, expires_at", "{bytes}, {2}, {4}, {now}"),
    (
        "applications",
        "id, app_id, name, organization_id, scopes, is_active, rate_limit_per_minute, allow_user_assertion, created_at, updated_at",
        r#"{16}, 'nightly-sync', 'Sync', {1}, '["executions.run"]', true, 60, false, {now}, {now}"#,
    ),
    (
        "application_keys",
        "id, application_id, name, hash, prefix, created_by, created_at, expires_at",
        "{17}, {16}, 'first', {bytes}, 'bfak_abcdefgh', {2}, {now}, {now}",
    ),
    (
        "sdk_keys",
        "id, user_id, organization_id, epoch, hash, prefix, created_at",
        "{18}, {2}, {1}, 3, {bytes}, 'bfsk_abcdefgh', {now}",
    ),
    (
        "workflow_keys",
        "id, organization_id, workflow_name, hash, prefix, created_at",
        "{19}, {1}, 'greet', {bytes}, 'bfwk_abcdefgh', {now}",
    ),
    (
        "device_grants",
        "id, device_hash, user_code, created_at, expires_at, interval_seconds, user_id, epoch, approved",
        "{20}, {bytes}, 'BCDFGHJK', {now}, {now}, 5, {2}, 3, true",
    ),
];

/// Puts a row into every table of `schema`; a table that is not listed above fails the test.
pub(super) async fn fill(bed: &Bed, schema: &Schema) {
    let (now, postgres) = (bed.now(), bed.db.db().is_postgres());
    bed.store.ensure_partitions(now, now + Duration::days(1)).await.expect("partitions");
    let id = |number: u64| {
        let id = uuid_at(now, number);
        if postgres { format!("'{id}'") } else { format!("X'{}'", id.simple()) }
    };
    let filled: Vec<&str> = ROWS.iter().map(|(table, _, _)| *table).collect();
    let unknown: Vec<&str> = schema.tables().filter(|table| !filled.contains(table)).collect();
    assert!(unknown.is_empty(), "add a row for {unknown:?}");
    for (table, columns, values) in ROWS {
        let mut values = values
            .replace("{now}", &format!("'{}'", now.to_rfc3339()))
            .replace("{bytes}", if postgres { r"'\x00ff27'" } else { "X'00ff27'" })
            .replace("{run}", &id(100));
        for number in 1..=20 {
            values = values.replace(&format!("{{{number}}}"), &id(number));
        }
        bed.query(&format!("INSERT INTO {table} ({columns}) VALUES ({values})")).await;
    }
}

/// Every row of every table of `schema`, in the columns that it has there.
pub(super) async fn all(bed: &Bed, schema: &Schema) -> Vec<String> {
    let mut lines = Vec::new();
    for table in schema.tables() {
        let columns = schema.parts(table, "column ").map(|(name, _)| format!("\"{name}\""));
        let line = if bed.db.db().is_postgres() {
            format!("ROW({})::text", columns.collect::<Vec<_>>().join(", "))
        } else {
            columns.map(|name| format!("quote({name})")).collect::<Vec<_>>().join(" || '|' || ")
        };
        let rows = bed.query(&format!("SELECT {line} AS line FROM {table} ORDER BY 1")).await;
        assert!(!rows.is_empty(), "{table} is empty");
        lines.extend(
            rows.iter().map(|row| format!("{table} {}", row.try_get::<String>("", "line").expect("a line"))),
        );
    }
    lines
}
