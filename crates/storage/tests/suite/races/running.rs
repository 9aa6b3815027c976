//! What runs: its lines and variables, its end, another attempt, a cancel, and a reaper that takes it.

use super::{Rivals, Side, TURNS, at_once};
use crate::support::{batch, finish, line, user_id};
use bifrost_domain::{
    execution::{Claimed, Status},
    ids::ExecutionId,
};
use bifrost_storage::executions::{
    LogFilter,
    hot::{Claim, Guarded},
    lost::{Lost, Reaped, Reaping},
    transitions::CancelOutcome,
};
use bifrost_test_support::{TestDatabase, on_both_databases};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde_json::json;

on_both_databases![
    a_run_is_ended_tried_again_or_taken_by_one_of_two,
    a_cancel_is_asked_before_the_end_or_refused_after_it,
    a_cancel_and_another_attempt_agree,
    a_cancel_and_the_reaper_agree,
    one_of_two_cancels_asks_a_run_to_end,
    an_older_attempt_takes_nothing_from_the_next,
    lines_are_stored_before_the_run_is_taken_or_refused,
    variables_are_those_of_the_attempt_that_is_current,
];

const REAPING: Reaping = Reaping {
    not_before: None,
    error_type: "WorkerLost",
    error_message: "for administrators",
    user_message: "for everybody",
    line: |status| status.as_str(),
};

/// What makes an attempt the last one of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    Finish,
    Retry,
    /// The reaper: the run ends.
    Reap,
    /// The reaper: the run is tried again.
    ReapAgain,
}

impl Closing {
    const ALL: [Self; 4] = [Self::Finish, Self::Retry, Self::Reap, Self::ReapAgain];

    /// Where the run goes by it.
    const fn leads_to(self) -> Status {
        match self {
            Self::Finish => Status::Success,
            Self::Retry | Self::ReapAgain => Status::Pending,
            Self::Reap => Status::Failed,
        }
    }

    /// Whether it was this caller's word that counted.
    fn by(self, side: Side, run: Run, now: DateTime<Utc>) -> BoxFuture<'static, bool> {
        Box::pin(async move {
            let (id, attempt) = (run.claimed.id, run.claimed.attempt);
            match self {
                Self::Finish => {
                    let end = finish(&run.claimed, Status::Success, 5, now);
                    side.hot.finish(end).await.expect("asked") == Guarded::Written
                }
                Self::Retry => {
                    side.store.retry_execution(id, attempt, now, "x", 0, now).await.expect("asked")
                }
                Self::Reap | Self::ReapAgain => {
                    let not_before = (self == Self::ReapAgain).then_some(now);
                    let reaping = Reaping { not_before, ..REAPING };
                    let reaped = side.store.reap_execution(&run.lost, &reaping, now).await.expect("asked");
                    assert!(reaped.is_none_or(|reaped| reaped.status == self.leads_to()), "{reaped:?}");
                    reaped.is_some()
                }
            }
        })
    }
}

/// A run as its worker knows it, and as a reaper finds it.
#[derive(Clone)]
struct Run {
    claimed: Claimed,
    lost: Lost,
}

async fn running(rivals: &Rivals) -> Run {
    let claimed = rivals.bed.running(rivals.worker).await;
    let lost = lost(rivals, &claimed).await;
    Run { claimed, lost }
}

async fn lost(rivals: &Rivals, claimed: &Claimed) -> Lost {
    let runs = rivals.bed.store.list_runs_of(rivals.worker).await.expect("read");
    runs.into_iter().find(|lost| lost.id == claimed.id).expect("it runs")
}

/// What is left is ended, so that the next case's list is short.
async fn put_away(rivals: &Rivals, id: ExecutionId) {
    if rivals.bed.status(id).await == Status::Pending {
        rivals.bed.store.cancel_execution(id, user_id(9), rivals.bed.now(), None).await.expect("cancelled");
    }
}

/// Every pair of an end, another attempt and the reaper's two ways, each also against its like.
async fn a_run_is_ended_tried_again_or_taken_by_one_of_two(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for (at, first) in Closing::ALL.into_iter().enumerate() {
        for second in Closing::ALL.into_iter().skip(at) {
            for turn in 0..TURNS / 2 {
                let run = running(&rivals).await;
                let ((one, other), now) = (rivals.sides(), rivals.bed.now());
                let outcome =
                    at_once(turn, first.by(one, run.clone(), now), second.by(other, run.clone(), now)).await;
                let winner = match outcome {
                    (true, false) => first,
                    (false, true) => second,
                    both => panic!("{first:?} and {second:?}: {both:?}"),
                };
                assert_eq!(
                    rivals.bed.status(run.claimed.id).await,
                    winner.leads_to(),
                    "{first:?} {second:?}"
                );
                put_away(&rivals, run.claimed.id).await;
            }
        }
    }
    rivals.agree().await;
}

async fn a_cancel_is_asked_before_the_end_or_refused_after_it(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let run = running(&rivals).await;
        let (id, now) = (run.claimed.id, rivals.bed.now());
        let (one, other) = rivals.sides();
        let (written, cancelled) = at_once(turn, Closing::Finish.by(one, run, now), async move {
            other.store.cancel_execution(id, user_id(9), now, None).await
        })
        .await;
        assert!(written, "the end that came first is the end, whatever was asked meanwhile");
        assert_eq!(rivals.bed.status(id).await, Status::Success);
        let cancelled = cancelled.expect("asked").expect("there");
        let expected = [CancelOutcome::Cancelling, CancelOutcome::Finished(Status::Success)];
        assert!(expected.contains(&cancelled), "{cancelled:?}");
        let asked = rivals.bed.events(id).await.contains(&"cancel_requested");
        assert_eq!(asked, cancelled == CancelOutcome::Cancelling);
    }
    rivals.agree().await;
}

async fn a_cancel_and_another_attempt_agree(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let run = running(&rivals).await;
        let (id, now) = (run.claimed.id, rivals.bed.now());
        let (one, other) = rivals.sides();
        let (retried, cancelled) = at_once(turn, Closing::Retry.by(one, run.clone(), now), async move {
            other.store.cancel_execution(id, user_id(9), now, None).await
        })
        .await;
        let expected = if retried {
            (CancelOutcome::Cancelled, Status::Cancelled)
        } else {
            (CancelOutcome::Cancelling, Status::Cancelling)
        };
        let cancelled = cancelled.expect("asked").expect("there");
        assert_eq!((cancelled, rivals.bed.status(id).await), expected);
        if !retried {
            // What its worker does then.
            let end = finish(&run.claimed, Status::Cancelled, 5, now);
            assert_eq!(rivals.bed.hot.finish(end).await.expect("asked"), Guarded::Written);
        }
    }
    rivals.agree().await;
}

async fn a_cancel_and_the_reaper_agree(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let run = running(&rivals).await;
        let (id, now) = (run.claimed.id, rivals.bed.now());
        let (one, other) = rivals.sides();
        let again = turn % 4 < 2;
        let (reaped, cancelled) = at_once(
            turn,
            async move {
                let reaping = Reaping { not_before: again.then_some(now), ..REAPING };
                one.store.reap_execution(&run.lost, &reaping, now).await
            },
            async move { other.store.cancel_execution(id, user_id(9), now, None).await },
        )
        .await;
        let reaped = reaped.expect("asked").expect("it is the current attempt").status;
        let cancelled = cancelled.expect("asked").expect("there");
        let status = rivals.bed.status(id).await;
        match cancelled {
            // Asked first: the reaper ended what had been asked to end.
            CancelOutcome::Cancelling => assert_eq!((reaped, status), (Status::Cancelled, Status::Cancelled)),
            // It waited again by then.
            CancelOutcome::Cancelled => assert_eq!((reaped, status), (Status::Pending, Status::Cancelled)),
            CancelOutcome::Finished(Status::Failed) => {
                assert_eq!((reaped, status), (Status::Failed, Status::Failed));
            }
            other => panic!("{other:?} with {reaped:?}"),
        }
    }
    rivals.agree().await;
}

async fn one_of_two_cancels_asks_a_run_to_end(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let run = running(&rivals).await;
        let (id, now) = (run.claimed.id, rivals.bed.now());
        let (one, other) = rivals.sides();
        let (first, second) = at_once(
            turn,
            async move { one.store.cancel_execution(id, user_id(8), now, None).await },
            async move { other.store.cancel_execution(id, user_id(9), now, None).await },
        )
        .await;
        let mut outcomes = [first, second].map(|outcome| outcome.expect("asked").expect("there"));
        outcomes.sort_by_key(|outcome| *outcome != CancelOutcome::Cancelling);
        assert_eq!(outcomes, [CancelOutcome::Cancelling, CancelOutcome::Already(Status::Cancelling)]);
    }
    rivals.agree().await;
}

/// Whatever closes an attempt comes too late when the next one is being claimed, or has been.
async fn an_older_attempt_takes_nothing_from_the_next(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for closing in Closing::ALL {
        for turn in 0..TURNS / 2 {
            let run = running(&rivals).await;
            let (id, now) = (run.claimed.id, rivals.bed.now());
            assert!(rivals.bed.store.retry_execution(id, 1, now, "x", 0, now).await.expect("asked"));
            let (one, other) = rivals.sides();
            let claim = Claim { id, worker_id: rivals.worker };
            let (counted, claimed) =
                at_once(turn, closing.by(one, run, now), async move { other.hot.claim(claim).await }).await;
            assert!(!counted, "{closing:?}");
            let second = claimed.expect("asked").expect("nobody else wants it");
            assert_eq!((second.attempt, rivals.bed.status(id).await), (2, Status::Running));
            let end = finish(&second, Status::Success, 5, now);
            assert_eq!(rivals.bed.hot.finish(end).await.expect("asked"), Guarded::Written);
        }
    }
    rivals.agree().await;
}

/// A line that was told to be stored is there, and its number is nobody else's.
async fn lines_are_stored_before_the_run_is_taken_or_refused(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let run = running(&rivals).await;
        let (id, now) = (run.claimed.id, rivals.bed.now());
        let (one, other) = rivals.sides();
        let lines = batch(&run.claimed, vec![line(1, "a", now), line(2, "b", now)]);
        let (stored, reaped) = at_once(turn, async move { one.hot.write_logs(lines).await }, async move {
            other.store.reap_execution(&run.lost, &REAPING, now).await
        })
        .await;
        let stored = stored.expect("asked") == Guarded::Written;
        let expected = Reaped { status: Status::Failed, sequence: if stored { 3 } else { 1 } };
        assert_eq!(reaped.expect("asked"), Some(expected));
        let filter = LogFilter { internal: true, limit: 10, ..LogFilter::default() };
        let lines = rivals.bed.reader.list_logs(id, &filter).await.expect("read");
        let told: Vec<&str> = lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(told, if stored { vec!["a", "b", "Failed"] } else { vec!["Failed"] });
    }
    rivals.agree().await;
}

/// The last variables of an attempt, late, while the next attempt begins and says its first.
async fn variables_are_those_of_the_attempt_that_is_current(db: TestDatabase) {
    let rivals = Rivals::new(db).await;
    for turn in 0..TURNS {
        let run = running(&rivals).await;
        let (id, now) = (run.claimed.id, rivals.bed.now());
        let (one, other) = rivals.sides();
        let claim = Claim { id, worker_id: rivals.worker };
        let (late, ()) = at_once(
            turn,
            async move { one.store.put_variables(id, 1, &json!({"attempt": 1}), now).await },
            async move {
                assert!(other.store.retry_execution(id, 1, now, "x", 0, now).await.expect("asked"));
                other.hot.claim(claim).await.expect("asked").expect("claimed");
                let put = other.store.put_variables(id, 2, &json!({"attempt": 2}), now).await;
                assert!(put.expect("asked").is_some(), "the first of the attempt that is current");
            },
        )
        .await;
        late.expect("asked");
        let read = rivals.bed.reader.find_variables(id).await.expect("read");
        assert_eq!(read.map(|(_, variables)| variables), Some(json!({"attempt": 2})));
    }
    rivals.agree().await;
}
