//! What can be run and how it is reached: workflows, data providers, forms, schedules.

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
CREATE TABLE workflows (
    id {uuid} PRIMARY KEY NOT NULL,
    organization_id {uuid} REFERENCES organizations (id) ON DELETE RESTRICT,
    name varchar(200) NOT NULL UNIQUE,
    external_id varchar(200),
    path varchar(1024) NOT NULL,
    function varchar(200) NOT NULL,
    definition {json} NOT NULL,
    source_hash varchar(64) NOT NULL,
    is_active boolean NOT NULL,
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL
)
;;
CREATE TABLE data_providers (
    id {uuid} PRIMARY KEY NOT NULL,
    organization_id {uuid} REFERENCES organizations (id) ON DELETE RESTRICT,
    name varchar(200) NOT NULL UNIQUE,
    path varchar(1024) NOT NULL,
    function varchar(200) NOT NULL,
    definition {json} NOT NULL,
    source_hash varchar(64) NOT NULL,
    is_active boolean NOT NULL,
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL
)
;;
CREATE TABLE forms (
    id {uuid} PRIMARY KEY NOT NULL,
    organization_id {uuid} REFERENCES organizations (id) ON DELETE RESTRICT,
    name varchar(200) NOT NULL,
    description varchar(2000),
    workflow_id {uuid} REFERENCES workflows (id) ON DELETE SET NULL,
    launch_workflow_id {uuid} REFERENCES workflows (id) ON DELETE SET NULL,
    default_launch_params {json},
    allowed_query_params {json},
    form_schema {json} NOT NULL,
    access_level varchar(16) NOT NULL CHECK (access_level IN ('public', 'authenticated', 'role_based')),
    is_active boolean NOT NULL,
    created_by {uuid},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL
)
;;
CREATE INDEX forms_organization ON forms (organization_id)
;;
CREATE TABLE form_roles (
    form_id {uuid} NOT NULL REFERENCES forms (id) ON DELETE CASCADE,
    role_id {uuid} NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    assigned_by {uuid},
    assigned_at {time} NOT NULL,
    PRIMARY KEY (form_id, role_id)
)
;;
CREATE INDEX form_roles_role ON form_roles (role_id)
;;
CREATE TABLE schedules (
    id {uuid} PRIMARY KEY NOT NULL,
    organization_id {uuid} REFERENCES organizations (id) ON DELETE RESTRICT,
    workflow_id {uuid} REFERENCES workflows (id) ON DELETE CASCADE,
    cron_expression varchar(200) NOT NULL,
    timezone varchar(64) NOT NULL,
    input {json} NOT NULL,
    overlap_policy varchar(16) NOT NULL CHECK (overlap_policy IN ('skip', 'queue', 'replace')),
    catch_up_policy varchar(16) NOT NULL CHECK (catch_up_policy IN ('none', 'last', 'all')),
    enabled boolean NOT NULL,
    next_run_at {time},
    last_run_at {time},
    last_execution_id {uuid},
    execution_count bigint NOT NULL,
    created_by {uuid},
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL
)
;;
CREATE INDEX schedules_next ON schedules (next_run_at)
";

const DOWN: &str = r"
DROP TABLE schedules
;;
DROP TABLE form_roles
;;
DROP TABLE forms
;;
DROP TABLE data_providers
;;
DROP TABLE workflows
";
