//! Executions as people who are no platform admins see them: what is hidden shows in nothing, and what is others' stays theirs.

#![expect(clippy::expect_used, reason = "a case that cannot go on has failed")]

use bifrost_app::{
    auth::Client,
    executions::{Submit, What},
    worker::Registration,
};
use bifrost_domain::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    definition::Definition,
    error::Kind,
    execution::{Claimed, LogBatch, LogLevel, LogLine, Status},
    ids::{ExecutionId, FormId, OrganizationId, UserId, WorkerId},
    organization::{Organization, OrganizationKind},
    policy::{Caller, authorize},
    ports::python::{FileReport, WorkspaceReport},
    rights::{MembershipRole, Rights},
    user::{User, UserType},
};
use bifrost_migration::sea_orm::ConnectionTrait;
use bifrost_storage::organizations::Deletion;
use bifrost_test_support::{World, in_both_worlds};
use chrono::Duration;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use uuid::Uuid;

in_both_worlds![&[];
    a_search_tells_nothing_of_hidden_lines,
    a_timeline_without_its_internals,
    who_may_read_may_not_end,
    a_form_has_to_be_there,
    an_organization_that_is_gone_accepts_nothing,
];

fn home() -> OrganizationId {
    OrganizationId::from_uuid(Uuid::from_u128(0x0189_0a5d_ac96_774b_bccf_0000_0000_abc0))
}

fn person(permissions: &[&str], home: OrganizationId) -> Caller {
    let now = SystemClock.now();
    let user = User {
        id: UserId::from_uuid(SystemIds.next()),
        email: "ann@acme.example".to_owned(),
        name: None,
        user_type: UserType::Org,
        organization_id: Some(home),
        is_active: true,
        is_superuser: false,
        is_verified: true,
        is_registered: true,
        epoch: 0,
        last_login: None,
        purge_at: None,
        created_at: now,
        updated_at: now,
    };
    let rights = Arc::new(Rights::of_member(home, MembershipRole::Member, permissions));
    Caller::of_user(&user, &rights, None, None).expect("a caller")
}

fn member(permissions: &[&str]) -> Caller {
    person(&[&["executions.run"], permissions].concat(), home())
}

/// The catalog has one workflow, the organization of the members is there, and no worker is there to run it.
async fn with_a_workflow(world: &World) {
    let now = world.app.clock().now();
    let organization = Organization {
        id: home(),
        name: "Acme".to_owned(),
        domain: None,
        is_active: true,
        kind: OrganizationKind::Company,
        parent_id: None,
        time_zone: "UTC".to_owned(),
        settings: json!({}),
        created_by: None,
        created_at: now,
        updated_at: now,
    };
    let tx = world.store.db().begin().await.expect("begin");
    tx.insert_organization(&authorize(&world.caller).expect("an admin may"), organization)
        .await
        .expect("made");
    tx.commit().await.expect("commit");
    let definition: Definition = serde_json::from_value(json!({
        "kind": "workflow", "name": "greet", "function": "greet", "line": 1, "category": "General", "timeout_seconds": 60,
    }))
    .expect("a definition");
    let file =
        FileReport { path: "a.py".into(), hash: "1".into(), definitions: vec![definition], issues: vec![] };
    let report = WorkspaceReport { version: "1".into(), files: vec![file] };
    assert!(world.app.sync_workspace(&report).await.expect("synced").is_empty());
}

fn request(form_id: Option<FormId>) -> Submit {
    Submit { what: What::Name("greet".to_owned()), input: Map::new(), form_id, not_before: None }
}

async fn submitted(world: &World, by: &Caller) -> ExecutionId {
    world.app.submit(by, request(None), false).await.expect("accepted").id
}

async fn claimed(world: &World, id: ExecutionId) -> Claimed {
    let now = world.app.clock().now();
    let worker = Registration {
        id: WorkerId::from_uuid(SystemIds.next()),
        name: "test:1".to_owned(),
        version: "test".to_owned(),
        slots: 1,
        info: json!({}),
        started_at: now,
        lease_until: now + Duration::seconds(60),
    };
    world.app.register_worker(&worker).await.expect("registered");
    world.app.claim(id, worker.id).await.expect("asked").expect("claimed")
}

async fn a_search_tells_nothing_of_hidden_lines(world: Arc<World>) {
    with_a_workflow(&world).await;
    let ann = member(&[]);
    let run = claimed(&world, submitted(&world, &ann).await).await;
    let lines = [
        (LogLevel::Info, "seen one"),
        (LogLevel::Debug, "the password is hunter2"),
        (LogLevel::Traceback, "ValueError: hunter2"),
        (LogLevel::Info, "seen two"),
        (LogLevel::Debug, "the last one: hunter2"),
    ];
    let lines = lines
        .into_iter()
        .zip(1..)
        .map(|((level, message), sequence)| LogLine {
            sequence,
            level,
            message: message.to_owned(),
            metadata: None,
            timestamp: run.started_at,
        })
        .collect();
    world.app.write_logs(LogBatch { id: run.id, attempt: run.attempt, lines }).await.expect("stored");
    let page = async |caller: &Caller, after, level, text: Option<&str>, limit| {
        let text = text.map(str::to_owned);
        let page = world.app.execution_logs(caller, run.id, after, level, text, limit).await.expect("read");
        let numbers: Vec<i64> = page.lines.iter().map(|line| line.sequence).collect();
        (numbers, page.next_after, page.has_more)
    };
    for limit in [1, 2, 1_000] {
        let nothing = page(&ann, 0, None, Some("nobody says this"), limit).await;
        assert_eq!(nothing, (vec![], 0, false));
        for text in ["hunter2", "the password", "ValueError"] {
            assert_eq!(page(&ann, 0, None, Some(text), limit).await, nothing, "{text}");
        }
        for level in [LogLevel::Debug, LogLevel::Traceback, LogLevel::Critical] {
            assert_eq!(page(&ann, 0, Some(level), None, limit).await, nothing, "{level}");
            assert_eq!(page(&ann, 0, Some(level), Some("hunter2"), limit).await, nothing, "{level}");
        }
    }
    // What is found leads on by itself.
    assert_eq!(page(&ann, 0, None, Some("SEEN"), 1).await, (vec![1], 1, true));
    assert_eq!(page(&ann, 1, None, Some("SEEN"), 1).await, (vec![4], 4, false));
    assert_eq!(page(&ann, 0, Some(LogLevel::Info), None, 10).await, (vec![1, 4], 4, false));
    // Without a question the page moves past what is hidden.
    assert_eq!(page(&ann, 0, None, None, 3).await, (vec![1], 3, true));
    assert_eq!(page(&ann, 3, None, None, 3).await, (vec![4], 5, false));
    let admin = &world.caller;
    assert_eq!(page(admin, 0, None, Some("hunter2"), 10).await, (vec![2, 3, 5], 5, false));
    assert_eq!(page(admin, 0, Some(LogLevel::Debug), None, 10).await, (vec![2, 5], 5, false));
}

async fn a_timeline_without_its_internals(world: Arc<World>) {
    with_a_workflow(&world).await;
    let ann = member(&[]);
    let id = submitted(&world, &ann).await;
    let run = claimed(&world, id).await;
    let delay = Duration::seconds(60);
    assert!(world.app.retry(id, run.attempt, delay, "InternalError", 0).await.expect("asked"));
    world.app.cancel(&ann, id, &Client::default()).await.expect("cancelled");
    let seen = async |caller: &Caller| {
        let timeline = world.app.execution_timeline(caller, id).await.expect("read");
        let entries = timeline.into_iter().map(|entry| (entry.event.as_str(), entry.detail));
        entries.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (hers, all) = (seen(&ann).await, seen(&world.caller).await);
    assert!(hers.keys().eq(all.keys()), "{hers:?}");
    let keys = |detail: &Option<Value>| -> Vec<String> {
        detail
            .as_ref()
            .and_then(Value::as_object)
            .map(|fields| fields.keys().cloned().collect())
            .unwrap_or_default()
    };
    assert_eq!((keys(&hers["claimed"]), keys(&all["claimed"])), (vec![], vec!["worker_id".to_owned()]));
    assert_eq!(keys(&hers["retrying"]), ["not_before"]);
    assert_eq!(all["retrying"].as_ref().expect("a detail")["reason"], "InternalError");
    assert_eq!(keys(&hers["cancel_requested"]), ["by"]);
    assert_eq!(hers["finished"], Some(json!({"status": "Cancelled"})));
}

async fn who_may_read_may_not_end(world: Arc<World>) {
    with_a_workflow(&world).await;
    let ann = member(&[]);
    let id = submitted(&world, &ann).await;
    let app = &world.app;
    let refused =
        async |caller: &Caller| app.cancel(caller, id, &Client::default()).await.expect_err("refused").kind;
    assert_eq!(refused(&member(&[])).await, Kind::Forbidden);
    let reader = member(&["executions.read_all"]);
    app.find_execution(&reader, id).await.expect("read");
    assert_eq!(refused(&reader).await, Kind::Forbidden);
    let everywhere = OrganizationId::from_uuid(SystemIds.next());
    let stranger = person(&["executions.read_all", "executions.cancel_all"], everywhere);
    assert_eq!(refused(&stranger).await, Kind::NotFound);
    assert!(!app.status_of(id).await.expect("read").expect("there").is_terminal());

    let manager = member(&["executions.read_all", "executions.cancel_all"]);
    assert_eq!(app.cancel(&manager, id, &Client::default()).await.expect("cancelled"), Status::Cancelled);
    for by in [&ann, &world.caller] {
        let id = submitted(&world, &ann).await;
        assert_eq!(app.cancel(by, id, &Client::default()).await.expect("cancelled"), Status::Cancelled);
    }
}

async fn a_form_has_to_be_there(world: Arc<World>) {
    with_a_workflow(&world).await;
    let ann = member(&[]);
    let db = world.store.db();
    let (id, form) = (SystemIds.next(), FormId::from_uuid);
    let literal = if db.is_postgres() { format!("'{id}'") } else { format!("X'{}'", id.simple()) };
    let now = SystemClock.now().to_rfc3339();
    let insert = format!(
        "INSERT INTO forms (id, name, form_schema, access_level, is_active, created_at, updated_at) \
         VALUES ({literal}, 'f', '{{}}', 'authenticated', true, '{now}', '{now}')"
    );
    db.migration_connection().execute_unprepared(&insert).await.expect("a form");
    for caller in [&ann, &world.caller] {
        let accepted = world.app.submit(caller, request(Some(form(id))), false).await.expect("accepted");
        let (run, _) = world.app.find_execution(caller, accepted.id).await.expect("read");
        assert_eq!(run.form_id, Some(form(id)));
        let unknown = request(Some(form(SystemIds.next())));
        let error = world.app.submit(caller, unknown, false).await.expect_err("no such form");
        assert_eq!((error.kind, error.fields[0].path.as_str()), (Kind::Invalid, "form_id"));
    }
}

/// Who was let in before the organization was deleted.
async fn an_organization_that_is_gone_accepts_nothing(world: Arc<World>) {
    with_a_workflow(&world).await;
    let ann = member(&[]);
    let tx = world.store.db().begin().await.expect("begin");
    let permit = authorize(&world.caller).expect("an admin may");
    let deletion = tx.delete_organization(&permit, home()).await.expect("asked");
    assert_eq!(deletion, Deletion::Done { memberships: 0, keys: 0 });
    tx.commit().await.expect("commit");
    let error = world.app.submit(&ann, request(None), false).await.expect_err("refused");
    assert_eq!((error.kind, error.message.as_ref()), (Kind::NotFound, "organization not found"));
    let filter = bifrost_storage::executions::Filter::default();
    assert!(world.app.list_executions(&ann, None, &filter, 10).await.expect("read").0.is_empty());
}
