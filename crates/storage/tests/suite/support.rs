//! A store with partitions for two days, a hot path, and a clock and ids that are the same in every run.

use bifrost_domain::{
    clock::{Clock, SharedClock, floor_id},
    execution::{Claimed, Finish, Kind, LogBatch, LogLevel, LogLine, NewExecution, ResultType, Status},
    ids::{ExecutionId, OrganizationId, UserId, WorkerId},
    organization::{Organization, OrganizationKind},
    policy::{self, Caller, Permit, Visibility, actions::WriteOrganizations},
    rights::{MembershipRole, Rights},
    scope::Scope,
    user::{User, UserType},
};
use bifrost_migration::sea_orm::{ConnectionTrait, QueryResult, Statement};
use bifrost_storage::{HotPath, Reader, Store, executions::hot::Claim, workers::NewWorker};
use bifrost_test_support::{MovableClock, TestDatabase};
use chrono::{DateTime, Duration, Utc};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use uuid::Uuid;

/// Where a case stands.
pub(crate) struct Bed {
    pub(crate) db: TestDatabase,
    pub(crate) store: Store,
    pub(crate) reader: Reader,
    pub(crate) hot: HotPath,
    pub(crate) clock: Arc<MovableClock>,
    next: AtomicU64,
}

impl Bed {
    pub(crate) async fn new(db: TestDatabase) -> Self {
        let clock = Arc::new(MovableClock::default());
        let store = db.store();
        let now = clock.now();
        store.ensure_partitions(now, now + Duration::days(1)).await.expect("partitions");
        let hot = HotPath::start(&store, &(clock.clone() as SharedClock));
        let reader = store.reader();
        Self { db, store, reader, hot, clock, next: AtomicU64::new(1) }
    }

    /// A second process over the same database.
    pub(crate) fn another_process(&self) -> HotPath {
        HotPath::start(&self.store, &(self.clock.clone() as SharedClock))
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A UUIDv7 of the clock's time; later ones are larger.
    pub(crate) fn uuid(&self) -> Uuid {
        uuid_at(self.now(), self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn pending(&self) -> NewExecution {
        NewExecution {
            id: ExecutionId::from_uuid(self.uuid()),
            kind: Kind::Workflow,
            scope: Scope::Global,
            workflow_id: None,
            workflow_name: "greet".to_owned(),
            form_id: None,
            executed_by: user_id(1),
            executed_by_name: "Ann Ødegård".to_owned(),
            executed_by_email: "ann@acme.example".to_owned(),
            is_platform_admin: false,
            input: json!({"name": "Ødegård", "tags": [1, 2.5, null, true]}),
            code: None,
            timeout_seconds: 60,
            retry_policy: None,
            status: Status::Pending,
            not_before: None,
            dispatched_at: None,
            created_at: self.now(),
        }
    }

    /// Makes [`organization`] `number`.
    pub(crate) async fn add_organization(&self, number: u128) -> Scope {
        let scope = organization(number);
        let made = Organization {
            id: scope.organization().expect("an organization"),
            name: "Acme".to_owned(),
            domain: None,
            is_active: true,
            kind: OrganizationKind::Company,
            parent_id: None,
            time_zone: "UTC".to_owned(),
            settings: json!({}),
            created_by: None,
            created_at: self.now(),
            updated_at: self.now(),
        };
        let tx = self.store.db().begin().await.expect("begin");
        tx.insert_organization(&organizations_permit(self.now()), made).await.expect("made");
        tx.commit().await.expect("commit");
        scope
    }

    pub(crate) async fn submit(&self, execution: &NewExecution) -> ExecutionId {
        self.hot.submit(execution.clone()).await.expect("accepted");
        execution.id
    }

    /// A worker whose lease is valid for `seconds` from the clock's time.
    pub(crate) async fn worker(&self, seconds: i64) -> WorkerId {
        let id = WorkerId::from_uuid(self.uuid());
        let worker = NewWorker {
            id,
            name: "host:1".to_owned(),
            version: "0.1.0".to_owned(),
            slots: 4,
            info: json!({"python": "3.11"}),
            started_at: self.now(),
            lease_until: self.now() + Duration::seconds(seconds),
        };
        self.store.insert_worker(&worker).await.expect("registered");
        id
    }

    pub(crate) async fn try_claim(&self, id: ExecutionId, worker_id: WorkerId) -> Option<Claimed> {
        self.hot.claim(Claim { id, worker_id }).await.expect("asked")
    }

    pub(crate) async fn claim(&self, id: ExecutionId, worker_id: WorkerId) -> Claimed {
        self.try_claim(id, worker_id).await.expect("claimed")
    }

    pub(crate) async fn running(&self, worker_id: WorkerId) -> Claimed {
        let id = self.submit(&self.pending()).await;
        self.claim(id, worker_id).await
    }

    pub(crate) async fn status(&self, id: ExecutionId) -> Status {
        self.reader.find_status(id).await.expect("read").expect("there")
    }

    pub(crate) async fn query(&self, sql: &str) -> Vec<QueryResult> {
        let connection = self.db.db().migration_connection();
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        connection.query_all(statement).await.expect("asked")
    }

    pub(crate) async fn events(&self, id: ExecutionId) -> Vec<&'static str> {
        let timeline = self.reader.list_timeline(id).await.expect("read");
        timeline.iter().map(|entry| entry.event.as_str()).collect()
    }
}

pub(crate) fn uuid_at(time: DateTime<Utc>, number: u64) -> Uuid {
    let mut bytes = *floor_id(time).as_bytes();
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    bytes[9..].copy_from_slice(&number.to_be_bytes()[1..]);
    Uuid::from_bytes(bytes)
}

pub(crate) fn user_id(number: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_0000_0000_0000 + number))
}

pub(crate) fn organization(number: u128) -> Scope {
    Scope::Organization(OrganizationId::from_uuid(Uuid::from_u128(
        0x0189_0a5d_ac96_774b_bccf_0000_0000_abc0 + number,
    )))
}

pub(crate) fn user(id: UserId, scope: Scope, is_superuser: bool, now: DateTime<Utc>) -> User {
    User {
        id,
        email: format!("{id}@acme.example"),
        name: None,
        user_type: if is_superuser { UserType::Platform } else { UserType::Org },
        organization_id: scope.organization(),
        is_active: true,
        is_superuser,
        is_verified: true,
        is_registered: true,
        epoch: 0,
        last_login: None,
        purge_at: None,
        created_at: now,
        updated_at: now,
    }
}

/// A platform admin, who sees everything.
pub(crate) fn everything(now: DateTime<Utc>) -> Visibility {
    let admin = user(user_id(0), Scope::Global, true, now);
    let caller = Caller::of_user(&admin, &Arc::default(), None, None).expect("a caller");
    policy::visible_executions(&caller)
}

/// What an admin may do to organizations.
pub(crate) fn organizations_permit(now: DateTime<Utc>) -> Permit<WriteOrganizations> {
    let admin = user(user_id(0), Scope::Global, true, now);
    let caller = Caller::of_user(&admin, &Arc::default(), None, None).expect("a caller");
    policy::authorize(&caller).expect("an admin may")
}

/// What a member of `scope` holds whose role adds these permissions.
pub(crate) fn rights_in(scope: Scope, permissions: &[&str]) -> Arc<Rights> {
    let held = |id| Rights::of_member(id, MembershipRole::Member, permissions);
    Arc::new(scope.organization().map(held).unwrap_or_default())
}

/// A person of `scope` with these permissions.
pub(crate) fn member(id: UserId, scope: Scope, permissions: &[&str], now: DateTime<Utc>) -> Visibility {
    let rights = rights_in(scope, permissions);
    let caller = Caller::of_user(&user(id, scope, false, now), &rights, None, None).expect("a caller");
    policy::visible_executions(&caller)
}

pub(crate) fn finish(claimed: &Claimed, status: Status, duration_ms: i64, at: DateTime<Utc>) -> Finish {
    Finish {
        id: claimed.id,
        attempt: claimed.attempt,
        status,
        result: Some(r#"{"ok":true}"#.into()),
        result_object: None,
        result_bytes: 11,
        result_type: ResultType::Json,
        error_type: None,
        error_message: None,
        user_message: None,
        variables: None,
        last_sequence: 0,
        completed_at: at,
        duration_ms,
        peak_memory_bytes: Some(1_000 + duration_ms),
        cpu_seconds: Some(0.25),
        scope: claimed.scope,
        workflow_name: claimed.workflow_name.clone(),
    }
}

pub(crate) fn line(sequence: i64, message: &str, now: DateTime<Utc>) -> LogLine {
    let message = message.to_owned();
    LogLine { sequence, level: LogLevel::Info, message, metadata: None, timestamp: now }
}

pub(crate) fn batch(claimed: &Claimed, lines: Vec<LogLine>) -> LogBatch {
    LogBatch { id: claimed.id, attempt: claimed.attempt, lines }
}
