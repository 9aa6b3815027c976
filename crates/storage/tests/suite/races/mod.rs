//! Every guarded write with two callers at the same moment: exactly one of two answers is true, and row, timeline, log and daily
//! numbers tell the same story afterwards. The two have connections of their own, as two processes have; who is a moment
//! earlier changes from turn to turn.

mod accounts;
mod begun;
mod factors;
mod keys;
mod organizations;
mod people;
mod running;
mod sessions;
mod taken;
mod waiting;
mod workers;

use crate::support::{Bed, user};
use bifrost_domain::{
    clock::SharedClock,
    execution::Status,
    ids::{SessionId, UserId, WorkerId},
    policy::{Action, Caller, Permit, authorize},
    scope::Scope,
    user::User,
};
use bifrost_migration::sea_orm::TryGetable;
use bifrost_storage::{
    Db, HotPath, Store,
    sessions::{NewSession, RefreshToken},
};
use bifrost_test_support::TestDatabase;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Barrier;

/// How often the two meet.
const TURNS: u32 = 30;
/// One of them is earlier by a multiple of this: a statement takes a few of it.
const STEP: Duration = Duration::from_micros(60);

/// What one side does in a transaction of its own.
macro_rules! within {
    ($side:expr, |$tx:ident| $what:expr) => {{
        let $tx = $side.store.db().begin().await.expect("begin");
        let answer = $what.await.expect("asked");
        $tx.commit().await.expect("commit");
        answer
    }};
}

/// The same by both at once, and what each was told. What it names is `Copy`, or made in it.
macro_rules! both {
    ($rivals:expr, $turn:expr, |$tx:ident| $what:expr) => {{
        let (one, other) = $rivals.sides();
        at_once($turn, async move { within!(one, |$tx| $what) }, async move { within!(other, |$tx| $what) })
            .await
    }};
}
use {both, within};

/// One process: what it writes through.
#[derive(Clone)]
struct Side {
    store: Store,
    hot: HotPath,
}

/// Two processes over one database. The bed's own connections only look on.
struct Rivals {
    bed: Bed,
    one: Side,
    other: Side,
    worker: WorkerId,
}

impl Rivals {
    async fn new(db: TestDatabase) -> Self {
        let bed = Bed::new(db).await;
        let worker = bed.worker(100_000).await;
        let (one, other) = (side(&bed).await, side(&bed).await);
        Self { bed, one, other, worker }
    }

    /// Two clones for one turn.
    fn sides(&self) -> (Side, Side) {
        (self.one.clone(), self.other.clone())
    }

    /// Somebody with an account, an admin of the platform, whose password has the hash `hash`.
    async fn person(&self) -> User {
        let id = UserId::from_uuid(self.bed.uuid());
        let person = user(id, Scope::Global, true, self.bed.now());
        self.add(&person).await;
        person
    }

    async fn add(&self, person: &User) {
        let hash = "hash".into();
        within!(self.bed, |tx| tx.insert_user(person, Some(&hash)));
    }

    /// A person who has signed in.
    async fn signed_in(&self) -> (User, RefreshToken) {
        let person = self.person().await;
        let now = self.bed.now();
        let session = NewSession {
            id: SessionId::from_uuid(self.bed.uuid()),
            user_id: person.id,
            epoch: person.epoch,
            created_at: now,
            expires_at: now + chrono::Duration::days(7),
            ends_at: now + chrono::Duration::days(30),
            factor_at: None,
            authenticated_at: None,
            user_agent: None,
            ip_address: None,
        };
        let token = RefreshToken {
            id: self.bed.uuid(),
            session_id: session.id,
            issued_at: now,
            expires_at: session.expires_at,
            used_at: None,
            successor_id: None,
        };
        within!(self.bed, |tx| tx.insert_session(session));
        within!(self.bed, |tx| tx.insert_refresh_token(token));
        (person, token)
    }

    /// A column of the row of a table that was made last, by its id.
    async fn last<T: TryGetable>(&self, table: &str, column: &str) -> T {
        let rows = self.bed.query(&format!("SELECT {column} FROM {table} ORDER BY id DESC LIMIT 1")).await;
        rows[0].try_get("", column).expect("a value")
    }

    /// How many rows a table has.
    async fn count(&self, table: &str) -> i64 {
        let rows = self.bed.query(&format!("SELECT count(*) AS n FROM {table}")).await;
        rows[0].try_get("", "n").expect("a number")
    }

    /// Row, timeline, log and daily numbers of all executions agree; closes what the two opened.
    async fn agree(self) {
        let count = async |sql: &str| {
            let rows = self.bed.query(sql).await;
            rows[0].try_get::<i64>("", "n").expect("a number")
        };
        const ENDED: &str =
            "e.status IN ('Success', 'CompletedWithErrors', 'Failed', 'Timeout', 'Cancelled')";
        let events = |event: &str| {
            format!(
                "(SELECT count(*) FROM execution_events v WHERE v.execution_id = e.id AND v.event = '{event}')"
            )
        };
        for (rule, sql) in [
            ("accepted once", format!("{} = 1", events("accepted"))),
            ("one claim for each attempt", format!("{} = e.attempt", events("claimed"))),
            ("an end for what has ended", format!("{} = CASE WHEN {ENDED} THEN 1 ELSE 0 END", events("finished"))),
            (
                "the end of the timeline is that of the row",
                "NOT EXISTS (SELECT 1 FROM execution_events v WHERE v.execution_id = e.id AND v.event = 'finished' \
                 AND (v.detail ->> 'status') <> e.status)"
                    .to_owned(),
            ),
            (
                "one request to cancel where one was heard",
                format!("{} = CASE WHEN e.cancel_requested_at IS NULL THEN 0 ELSE 1 END", events("cancel_requested")),
            ),
            (
                "lines are numbered without gaps",
                "(SELECT count(*) FROM execution_logs l WHERE l.execution_id = e.id) = \
                 (SELECT coalesce(max(l.sequence), 0) FROM execution_logs l WHERE l.execution_id = e.id)"
                    .to_owned(),
            ),
        ] {
            let broken = count(&format!("SELECT count(*) AS n FROM executions e WHERE NOT ({sql})")).await;
            assert_eq!(broken, 0, "{rule}");
        }
        for (status, column) in [
            (Status::Success, "success_count"),
            (Status::CompletedWithErrors, "completed_with_errors_count"),
            (Status::Failed, "failed_count"),
            (Status::Timeout, "timeout_count"),
            (Status::Cancelled, "cancelled_count"),
        ] {
            let rows =
                count(&format!("SELECT count(*) AS n FROM executions WHERE status = '{}'", status.as_str()))
                    .await;
            let counted = count(&format!(
                "SELECT CAST(coalesce(sum({column}), 0) AS bigint) AS n FROM execution_metrics_daily"
            ))
            .await;
            assert_eq!(counted, rows, "{column}");
        }
        self.close().await;
    }

    async fn close(self) {
        for side in [self.one, self.other] {
            side.store.db().close().await;
        }
    }
}

/// What somebody may do, who may do it.
fn permit<A: Action>(person: &User) -> Permit<A> {
    authorize(&Caller::of_user(person, &Arc::default(), None, None).expect("a caller")).expect("allowed")
}

async fn side(bed: &Bed) -> Side {
    let store = Store::new(Db::connect(bed.db.target()).await.expect("open"));
    let hot = HotPath::start(&store, &(bed.clock.clone() as SharedClock));
    Side { store, hot }
}

/// Both begin at the same moment, but for a few steps that one or the other waits; the first turn has none.
async fn at_once<A, B>(
    turn: u32,
    one: impl Future<Output = A> + Send + 'static,
    other: impl Future<Output = B> + Send + 'static,
) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let (steps, start) = (STEP * (turn / 2 % 15), Arc::new(Barrier::new(2)));
    let (early, late) =
        if turn.is_multiple_of(2) { (Duration::ZERO, steps) } else { (steps, Duration::ZERO) };
    let one = tokio::spawn(after(start.clone(), early, one));
    let other = tokio::spawn(after(start, late, other));
    let (one, other) = tokio::join!(one, other);
    (one.expect("no panic"), other.expect("no panic"))
}

async fn after<T>(start: Arc<Barrier>, wait: Duration, what: impl Future<Output = T>) -> T {
    start.wait().await;
    // A timer would be too coarse.
    let begin = Instant::now() + wait;
    while Instant::now() < begin {
        tokio::task::yield_now().await;
    }
    what.await
}
