//! Executions and their data, in daily partitions by range of the UUIDv7 id on PostgreSQL, and the daily numbers.

use crate::dialect;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, DOWN).await
    }
}

const UP: &str = r"
CREATE TABLE executions (
    id {uuid} PRIMARY KEY NOT NULL,
    kind varchar(32) NOT NULL,
    organization_id {uuid},
    workflow_id {uuid},
    workflow_name varchar(200) NOT NULL,
    form_id {uuid},
    executed_by {uuid} NOT NULL,
    executed_by_name varchar(255) NOT NULL,
    executed_by_email varchar(254) NOT NULL,
    is_platform_admin boolean NOT NULL,
    status varchar(32) NOT NULL CHECK (status IN ('Scheduled', 'Pending', 'Running', 'Success', 'CompletedWithErrors',
        'Failed', 'Timeout', 'Cancelling', 'Cancelled')),
    attempt integer NOT NULL CHECK (attempt >= 0),
    worker_id {uuid},
    input {json} NOT NULL,
    code text,
    timeout_seconds integer NOT NULL CHECK (timeout_seconds BETWEEN 1 AND 86400),
    retry_policy {json},
    created_at {time} NOT NULL,
    not_before {time},
    dispatched_at {time},
    dispatch_count integer NOT NULL,
    started_at {time},
    completed_at {time},
    cancel_requested_at {time},
    last_sequence bigint NOT NULL,
    duration_ms bigint,
    result text,
    result_object varchar(1024),
    result_bytes bigint,
    result_type varchar(8) NOT NULL CHECK (result_type IN ('json', 'html', 'text')),
    error_type varchar(200),
    error_message text,
    user_message text,
    peak_memory_bytes bigint,
    cpu_seconds {real},
    CHECK ((completed_at IS NOT NULL) = (status IN ('Success', 'CompletedWithErrors', 'Failed', 'Timeout', 'Cancelled')))
) {partitioned by id}
;;
CREATE INDEX executions_organization ON executions (organization_id, id)
;;
CREATE INDEX executions_executed_by ON executions (executed_by, id)
;;
CREATE INDEX executions_waiting ON executions (id) WHERE status IN ('Scheduled', 'Pending')
;;
CREATE INDEX executions_active ON executions (worker_id) WHERE status IN ('Running', 'Cancelling')
;;
CREATE TABLE execution_events (
    execution_id {uuid} NOT NULL,
    at {time} NOT NULL,
    attempt integer NOT NULL,
    event varchar(32) NOT NULL,
    detail {json},
    PRIMARY KEY (execution_id, at, event, attempt)
) {partitioned by execution_id}
;;
CREATE TABLE execution_logs (
    execution_id {uuid} NOT NULL,
    sequence bigint NOT NULL CHECK (sequence > 0),
    attempt integer NOT NULL,
    level varchar(16) NOT NULL CHECK (level IN ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'TRACEBACK')),
    message text NOT NULL,
    metadata {json},
    logged_at {time} NOT NULL,
    PRIMARY KEY (execution_id, sequence)
) {partitioned by execution_id}
;;
CREATE TABLE execution_variables (
    execution_id {uuid} PRIMARY KEY NOT NULL,
    attempt integer NOT NULL,
    version integer NOT NULL,
    variables {json} NOT NULL,
    updated_at {time} NOT NULL
) {partitioned by execution_id}
;;
CREATE TABLE execution_metrics_daily (
    date date NOT NULL,
    scope varchar(36) NOT NULL,
    workflow_name varchar(200) NOT NULL,
    success_count bigint NOT NULL,
    completed_with_errors_count bigint NOT NULL,
    failed_count bigint NOT NULL,
    timeout_count bigint NOT NULL,
    cancelled_count bigint NOT NULL,
    duration_ms_sum bigint NOT NULL,
    duration_ms_max bigint NOT NULL,
    cpu_seconds_sum {real} NOT NULL,
    peak_memory_bytes_max bigint NOT NULL,
    le_10_ms bigint NOT NULL,
    le_25_ms bigint NOT NULL,
    le_50_ms bigint NOT NULL,
    le_100_ms bigint NOT NULL,
    le_250_ms bigint NOT NULL,
    le_500_ms bigint NOT NULL,
    le_1_s bigint NOT NULL,
    le_2500_ms bigint NOT NULL,
    le_5_s bigint NOT NULL,
    le_10_s bigint NOT NULL,
    le_30_s bigint NOT NULL,
    le_1_min bigint NOT NULL,
    le_5_min bigint NOT NULL,
    le_15_min bigint NOT NULL,
    le_1_h bigint NOT NULL,
    over_1_h bigint NOT NULL,
    PRIMARY KEY (date, scope, workflow_name)
)
;;
-- postgres: one partition a day of each table, for the days from $1 to $2; the bound is the smallest UUIDv7 of the day
CREATE FUNCTION bifrost_ensure_partitions(first timestamptz, last timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    day date := (first AT TIME ZONE 'UTC')::date;
    final date := (last AT TIME ZONE 'UTC')::date;
    parent text;
    child text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(4216001);
    WHILE day <= final LOOP
        FOREACH parent IN ARRAY ARRAY['executions', 'execution_events', 'execution_logs', 'execution_variables'] LOOP
            child := parent || '_p' || to_char(day, 'YYYYMMDD');
            IF to_regclass(child) IS NULL THEN
                -- made apart and then attached: `PARTITION OF` would lock the parent against every reader and writer, and
                -- a submit that has locked another parent meanwhile would be in a deadlock with it
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child,
                    rpad(lpad(to_hex((extract(epoch FROM day::timestamp) * 1000)::bigint), 12, '0'), 32, '0')::uuid,
                    rpad(lpad(to_hex((extract(epoch FROM (day + 1)::timestamp) * 1000)::bigint), 12, '0'), 32, '0')::uuid);
                made := made + 1;
            END IF;
        END LOOP;
        day := day + 1;
    END LOOP;
    RETURN made;
END $$
";

const DOWN: &str = r"
-- postgres
DROP FUNCTION bifrost_ensure_partitions(timestamptz, timestamptz)
;;
DROP TABLE execution_metrics_daily
;;
DROP TABLE execution_variables
;;
DROP TABLE execution_logs
;;
DROP TABLE execution_events
;;
DROP TABLE executions
";
