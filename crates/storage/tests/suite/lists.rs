//! Lists: filters, pages without holes, and nobody else's rows.

use crate::support::{Bed, everything, finish, member, organization, user_id};
use bifrost_domain::{
    execution::{Execution, NewExecution, Status},
    ids::{ExecutionId, FormId},
    policy::Visibility,
    scope::Scope,
};
use bifrost_storage::executions::Filter;
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::Duration;
use futures::future::join_all;

on_both_databases![
    pages_have_no_hole_and_no_double,
    every_filter_narrows,
    nobody_sees_another_organizations_rows,
];

fn ids(executions: &[Execution]) -> Vec<ExecutionId> {
    executions.iter().map(|one| one.id).collect()
}

async fn list(bed: &Bed, visibility: &Visibility, filter: Filter) -> Vec<ExecutionId> {
    ids(&bed.reader.list_executions(visibility, &filter, 100).await.expect("read"))
}

async fn pages_have_no_hole_and_no_double(db: TestDatabase) {
    let bed = Bed::new(db).await;
    // All were made within one millisecond: their ids differ at the end alone.
    let given: Vec<_> = (0..25).map(|_| bed.pending()).collect();
    join_all(given.iter().map(|one| bed.submit(one))).await;
    let (everyone, mut filter) = (everything(bed.now()), Filter::default());
    let (mut pages, mut seen) = (Vec::new(), Vec::new());
    loop {
        let page = ids(&bed.reader.list_executions(&everyone, &filter, 10).await.expect("read"));
        let Some(last) = page.last() else { break };
        filter.before = Some(*last);
        pages.push(page.len());
        seen.extend(page);
        // What comes meanwhile is newer than every page and moves none.
        bed.submit(&bed.pending()).await;
    }
    assert_eq!(pages, [10, 10, 5]);
    assert_eq!(seen, given.iter().rev().map(|one| one.id).collect::<Vec<_>>());
}

async fn every_filter_narrows(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let worker = bed.worker(600).await;
    let form = FormId::from_uuid(bed.uuid());
    let begun = bed.now();
    let make = async |change: &(dyn Fn(&mut NewExecution) + Sync)| {
        let mut given = bed.pending();
        change(&mut given);
        bed.submit(&given).await
    };
    let plain = make(&|_| {}).await;
    let named = make(&|given| given.workflow_name = "100%_Sure".to_owned()).await;
    let formed = make(&|given| given.form_id = Some(form)).await;
    bed.clock.advance(Duration::seconds(10));
    let by_other = make(&|given| {
        (given.executed_by, given.executed_by_name) = (user_id(2), "Bob".to_owned());
    })
    .await;
    let ended = bed.running(worker).await;
    bed.hot.finish(finish(&ended, Status::Failed, 1, bed.now())).await.expect("ended");
    let everyone = everything(bed.now());
    let filtered = async |filter| list(&bed, &everyone, filter).await;
    let all = || Filter::default();
    assert_eq!(filtered(all()).await, [ended.id, by_other, formed, named, plain]);
    assert_eq!(filtered(Filter { workflow_name: Some("100%_Sure".into()), ..all() }).await, [named]);
    assert_eq!(filtered(Filter { workflow_name: Some("100".into()), ..all() }).await, []);
    assert_eq!(filtered(Filter { status: Some(Status::Failed), ..all() }).await, [ended.id]);
    assert_eq!(filtered(Filter { form_id: Some(form), ..all() }).await, [formed]);
    assert_eq!(filtered(Filter { executed_by: Some(user_id(2)), ..all() }).await, [by_other]);
    let later = begun + Duration::seconds(10);
    assert_eq!(filtered(Filter { from: Some(later), ..all() }).await, [ended.id, by_other]);
    assert_eq!(filtered(Filter { to: Some(later), ..all() }).await, [formed, named, plain]);
    assert_eq!(filtered(Filter { from: Some(begun), to: Some(begun), ..all() }).await, []);
    for (text, expected) in [("bOB", by_other), ("%_s", named), ("SURE", named)] {
        assert_eq!(filtered(Filter { text: Some(text.into()), ..all() }).await, [expected], "{text}");
    }
    let both = Filter { text: Some("ann".into()), status: Some(Status::Pending), to: Some(later), ..all() };
    assert_eq!(filtered(both).await, [formed, named, plain]);
    // A letter beyond ASCII is found as it is written; cases are folded as far as the database knows them.
    for text in ["Ødegård", "ANN Ødeg", "nn Ød"] {
        let found = filtered(Filter { text: Some(text.into()), to: Some(later), ..all() }).await;
        assert_eq!(found, [formed, named, plain], "{text}");
    }
    // Neither megabytes of inputs nor of results.
    let listed = bed.reader.list_executions(&everyone, &all(), 100).await.expect("read");
    assert!(listed.iter().all(|one| one.result.is_none() && one.input.is_null()));
    let one = bed.reader.find_execution(ended.id, &everyone).await.expect("read").expect("there");
    assert!(one.result.is_some() && one.input["name"] == "Ødegård", "{one:?}");
}

async fn nobody_sees_another_organizations_rows(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let now = bed.now();
    let mut of = Vec::new();
    bed.add_organization(1).await;
    bed.add_organization(2).await;
    for (scope, person) in
        [(organization(1), 1), (organization(1), 2), (organization(2), 3), (Scope::Global, 1)]
    {
        let mut given = bed.pending();
        (given.scope, given.executed_by) = (scope, user_id(person));
        of.push(bed.submit(&given).await);
    }
    let colleague = member(user_id(2), organization(1), &[], now);
    let manager = member(user_id(2), organization(1), &["executions.read_all"], now);
    let stranger = member(user_id(3), organization(2), &["executions.read_all"], now);
    let global = member(user_id(1), Scope::Global, &["executions.read_all"], now);
    assert_eq!(list(&bed, &colleague, Filter::default()).await, [of[1]]);
    assert_eq!(list(&bed, &manager, Filter::default()).await, [of[1], of[0]]);
    assert_eq!(list(&bed, &stranger, Filter::default()).await, [of[2]]);
    assert_eq!(list(&bed, &global, Filter::default()).await, [of[3]]);
    assert_eq!(list(&bed, &everything(now), Filter::default()).await, [of[3], of[2], of[1], of[0]]);
    assert_eq!(list(&bed, &everything(now).narrowed(organization(2)), Filter::default()).await, [of[2]]);
    // No filter leads around it.
    let asked = Filter { executed_by: Some(user_id(3)), before: Some(of[3]), ..Filter::default() };
    assert_eq!(list(&bed, &manager, asked).await, []);
    for (visibility, sees) in
        [(&manager, [true, true, false, false]), (&stranger, [false, false, true, false])]
    {
        for (id, sees) in of.iter().zip(sees) {
            let found = bed.reader.find_execution(*id, visibility).await.expect("read");
            assert_eq!(found.is_some(), sees);
        }
    }
}
