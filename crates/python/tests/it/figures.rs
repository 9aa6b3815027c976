//! How fast a no-op run is. The bounds are far above what a quiet machine shows: they catch a step that was put on the
//! hot path by mistake (a fork, a file, a poll), not a slow minute.

use crate::support::{World, file};
use bifrost_domain::{execution::Isolation, ports::python::PythonRuntime};
use serde_json::json;
use std::time::{Duration, Instant};

fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread")]
async fn no_op_runs_are_fast() {
    let world = World::new().await;
    let call = |isolation| {
        let mut call = file("noop", json!({}));
        call.isolation = isolation;
        call
    };
    for (isolation, bound) in [(Isolation::Fork, 60), (Isolation::Reuse, 20)] {
        for _ in 0..10 {
            world.run(call(isolation)).await.result();
        }
        let mut times = Vec::new();
        for _ in 0..200 {
            let begun = Instant::now();
            let ran = world.run(call(isolation)).await;
            times.push(begun.elapsed());
            ran.result();
        }
        let (middle, late) = median(times);
        println!("{isolation}: median {middle:?}, p99 {late:?} over 200 runs one after the other");
        assert!(middle < Duration::from_millis(bound), "{isolation}: {middle:?}");

        let begun = Instant::now();
        let total = 400;
        let mut under_way: std::collections::VecDeque<_> =
            (0..8).map(|_| world.start(call(isolation))).collect();
        for number in 0..total {
            under_way.pop_front().expect("eight").ended().await.result();
            if number + 8 < total {
                under_way.push_back(world.start(call(isolation)));
            }
        }
        let rate = f64::from(total) / begun.elapsed().as_secs_f64();
        println!("{isolation}: {rate:.0} runs/s with 8 in flight");
    }
    world.python.shutdown().await;
}
