//! Examples whose caller does not wait: steps that are watched, jobs that are cancelled, a call that is tried again.

use super::{Ran, ended, in_an_organization, path, ran, read, set, wrong};
use crate::support::{Client, Live, PATIENCE};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// The distributor's token, a secret.
pub(super) const TOKEN: &str = "distributor-s3cret-0451";

pub(super) async fn onboarding(admin: &Client) {
    let input = json!({"email": "Ada@contoso.example", "full_name": "Ada Byron King", "department": "finance",
        "licence": "business_premium", "start_date": "2026-03-02", "manager": "rosalind@contoso.example"});
    let run = ran(admin, "onboard_user", input.clone()).await;
    let result = run.good();
    assert_eq!(
        (&result["email"], &result["alias"], &result["start_date"]),
        (&json!("ada@contoso.example"), &json!("ada.king"), &json!("2026-03-02"))
    );
    assert_eq!(result["groups"], json!(["all-staff", "erp", "payroll"]));
    assert_eq!(result["requested_by"], "admin@localhost");
    // Each step is a line, numbered, with its details beside it.
    let steps = result["steps"].as_array().expect("steps");
    let lines = run.said("INFO");
    assert_eq!(lines.len(), steps.len() + 1);
    for (number, step) in steps.iter().enumerate() {
        assert_eq!(
            lines[number],
            format!("{}/{} {}", number + 1, steps.len(), step.as_str().expect("a step"))
        );
    }
    assert_eq!(lines[steps.len()], "Ada Byron King can start on 02 March 2026");
    assert_eq!(run.log[0]["metadata"], json!({"mailbox": "ada@contoso.example", "alias": "ada.king"}));
    // Its variables stay; parameters are not among them.
    let variables = admin.get(&format!("/api/executions/{}/variables", run.id())).await.of(200);
    assert_eq!(variables["variables"], run.execution["variables"]);
    assert_eq!(variables["variables"]["completed"], result["steps"]);
    assert_eq!(variables["variables"]["begins"], "2026-03-02");
    assert_eq!(variables["variables"]["email"], Value::Null);

    let mut unknown = input;
    unknown["department"] = json!("zoo");
    let refused = ran(admin, "onboard_user", unknown).await;
    let text = "There is no department `zoo`. Known are: finance, it, ops, sales.";
    assert_eq!(refused.refusal(), text);
    assert_eq!(refused.said("ERROR"), [text]);

    let input = json!({"email": 5, "full_name": "--", "licence": "gold", "start_date": "soon"});
    assert_eq!(
        wrong(admin, "onboard_user", input).await,
        [
            path("email", "must be an e-mail address, got 5"),
            path("full_name", "must be a name of 1 to 200 characters"),
            path("department", "is required"),
            path("licence", "must be one of \"business_basic\", \"business_premium\", \"frontline\""),
            path("start_date", "must be a date and time like 2026-01-31T08:00:00Z, got \"soon\""),
        ]
    );
}

pub(super) async fn inventory(admin: &Client) {
    let run = ran(admin, "inventory_sweep", json!({"devices": 30, "seconds_per_device": 0})).await;
    let result = run.good();
    assert_eq!(result["devices"], 30);
    let counted: i64 =
        result["systems"].as_object().expect("counts").values().filter_map(Value::as_i64).sum();
    assert_eq!(counted, 30);
    assert_eq!(run.said("INFO").len(), 3, "one line for ten devices");

    let id = admin.begin("inventory_sweep", json!({"devices": 5000, "seconds_per_device": 0.02})).await;
    let ticket = admin.ticket().await;
    let place = format!("/ws/execution/{id}?ticket={ticket}&after=0");
    let mut live = Live::open(admin.address, &place, &[]).await.expect("open");
    let progress = live.message_of("execution_progress").await;
    assert!(progress["fraction"].as_f64().is_some_and(|part| part > 0.0 && part < 1.0), "{progress}");
    let message = progress["message"].as_str().expect("a message");
    assert!(message.starts_with("device ") && message.ends_with(" of 5000"), "{message}");
    let run = cancelled(admin, &id, "of 5000 devices visited").await;
    let last = run.said("WARNING");
    assert!(last.len() == 1 && last[0].starts_with("cancelled after "), "{last:?}");
    // What it had found then is among the variables.
    let variables = &run.execution["variables"];
    let visited = variables["visited"].as_i64().expect("a number");
    assert!(visited >= 10 && last[0].contains(&format!(" {visited} of 5000 ")), "{last:?} {variables}");
    let counted = variables["systems"].as_object().expect("counts").values().filter_map(Value::as_i64);
    assert!([visited, visited - 1].contains(&counted.sum()), "{variables}");

    let input = json!({"devices": 0, "seconds_per_device": 61});
    assert_eq!(
        wrong(admin, "inventory_sweep", input).await,
        [path("devices", "must be at least 1"), path("seconds_per_device", "must be at most 60")]
    );
}

pub(super) async fn profiles(admin: &Client) {
    let run = ran(admin, "clean_old_profiles", json!({"profiles": 100, "seconds_per_profile": 0})).await;
    assert_eq!(run.good(), &json!({"host": "RDS01", "removed": 100}));
    assert_eq!(
        run.said("INFO"),
        [
            "50 profiles removed",
            "100 profiles removed",
            "RDS01: the journal is closed after 100 of 100 profiles"
        ]
    );

    let id = admin
        .begin("clean_old_profiles", json!({"host": "RDS02", "profiles": 5000, "seconds_per_profile": 0.01}))
        .await;
    let run = cancelled(admin, &id, "50 profiles removed").await;
    let last = *run.said("INFO").last().expect("a line");
    assert!(last.starts_with("RDS02: the journal is closed after "), "{last}");
    assert_eq!(run.result(), &Value::Null);
}

/// Cancels a run once it has said `text`. It ends within seconds, by itself.
async fn cancelled(admin: &Client, id: &str, text: &str) -> Ran {
    admin.line(id, text).await;
    let asked = Instant::now();
    admin.post(&format!("/api/executions/{id}/cancel"), json!({})).await.of(200);
    let run = ended(admin, id).await;
    assert!(asked.elapsed() < PATIENCE / 3, "{:?}", asked.elapsed());
    let end = (run.status(), &run.execution["error_type"], &run.execution["error_message"]);
    assert_eq!(end, ("Cancelled", &json!("Cancelled"), &json!("the run was cancelled")), "{}", run.execution);
    run
}

pub(super) async fn price_list(admin: &Client) {
    let run = ran(admin, "sync_price_list", json!({})).await;
    let result = run.good();
    assert_eq!((&run.execution["attempt"], &result["attempt"]), (&json!(3), &json!(3)));
    assert_eq!(result["prices"]["Visio Plan 2"], 13.1);
    assert_eq!(run.execution["error_message"], Value::Null, "what failed before is history");

    // The log tells every attempt, in order; the secret is in none of it.
    let expected = [
        "attempt 1 with the token ***",
        "attempt 2 with the token ***",
        "attempt 3 with the token ***",
        "5 prices read in attempt 3",
    ];
    assert_eq!(run.said("INFO"), expected);
    let between = run.said("WARNING");
    assert_eq!(
        between,
        [
            "attempt 1 ended (An error occurred during execution); trying again in 0.2 s",
            "attempt 2 ended (An error occurred during execution); trying again in 0.4 s",
        ]
    );
    let why = "IntegrationError: the gateway answered 503 Service Unavailable";
    assert_eq!(run.said("DEBUG"), [why, why]);
    let traces = run.said("TRACEBACK");
    assert!(traces.len() == 2 && traces[0].contains("integrations/price_list.py"), "{traces:?}");
    for (number, line) in run.log.iter().enumerate() {
        assert_eq!(line["sequence"], number + 1);
    }
    assert!(!json!([run.execution, run.log]).to_string().contains(TOKEN));

    let timeline = admin.get(&format!("/api/executions/{}/timeline", run.id())).await.of(200);
    let timeline = timeline.as_array().expect("entries");
    let events: Vec<_> = timeline.iter().filter_map(|entry| entry["event"].as_str()).collect();
    let attempt = ["dispatched", "claimed", "retrying"];
    let expected: Vec<_> = ["accepted"]
        .iter()
        .chain(&attempt)
        .chain(&attempt)
        .chain(&["dispatched", "claimed", "finished"])
        .collect();
    assert_eq!(events.iter().collect::<Vec<_>>(), expected);
    let at = |index: usize| timeline[index]["at"].as_str().expect("a time");
    let waits = [(3, 5, 200), (6, 8, 400)];
    for (from, to, least) in waits {
        assert!(between_times(at(from), at(to)) >= Duration::from_millis(least), "{} {}", at(from), at(to));
    }

    // A policy has an end.
    let run = ran(admin, "sync_price_list", json!({"failing_attempts": 10})).await;
    let end = (run.status(), &run.execution["attempt"], &run.execution["error_type"]);
    assert_eq!(end, ("Failed", &json!(4), &json!("IntegrationError")), "{}", run.execution);
    assert_eq!(run.said("WARNING").len(), 3);

    // What another attempt does not mend is not tried again.
    let (organization, _) = in_an_organization(admin, "Northwind").await;
    set(&organization, "distributor_token", json!(" "), false).await;
    let run = ran(&organization, "sync_price_list", json!({})).await;
    let end = (run.status(), &run.execution["attempt"], &run.execution["error_type"]);
    assert_eq!(end, ("Failed", &json!(1), &json!("ConfigurationError")), "{}", run.execution);
    assert!(read("integrations/price_list.py").contains("\"retry_on\": [\"IntegrationError\"]"));
}

/// The time between two points of one day, as RFC 3339 in UTC.
fn between_times(from: &str, to: &str) -> Duration {
    let micros = |text: &str| -> u64 {
        let clock = text.split_once('T').expect("a time").1.trim_end_matches('Z');
        let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let seconds = whole.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().expect("a number"));
        seconds * 1_000_000 + format!("{fraction:0<6}")[..6].parse::<u64>().expect("digits")
    };
    const DAY: u64 = 86_400_000_000;
    Duration::from_micros((micros(to) + DAY - micros(from)) % DAY)
}
