//! What a run may do to its surroundings by what it puts out, or by how it ends.

use crate::support::{Client, Mode, World, member_who_may_run};
use serde_json::{Value, json};

fn of_level<'a>(log: &'a [Value], level: &str) -> Vec<&'a str> {
    log.iter().filter(|line| line["level"] == level).filter_map(|line| line["message"].as_str()).collect()
}

async fn ran(client: &Client, name: &str, input: Value) -> (Value, Vec<Value>) {
    let reply = client.run(name, input).await;
    let log = client.log(reply["execution_id"].as_str().expect("an id")).await;
    (reply, log)
}

#[tokio::test]
async fn two_hundred_thousand_lines_are_bounded() {
    World::new(Mode::Embedded)
        .await
        .with("LOG_MAX_LINES", "50000")
        .run(async |world: &mut World| {
            let admin = world.admin().await;
            let id = admin.begin("flood", json!({"lines": 200_000})).await;
            let ended = admin.ended(&id).await;
            assert_eq!((&ended["status"], &ended["result"]), (&json!("Success"), &json!(200_000)), "{ended}");
            let log = admin.log(&id).await;
            assert_eq!(log.len(), 50_001);
            for (number, line) in log.iter().enumerate() {
                assert_eq!(line["sequence"], number + 1);
            }
            assert_eq!(log[0]["message"], "flood 0");
            assert_eq!(log[49_999]["message"], "flood 49999");
            let last = of_level(&log, "WARNING");
            assert!(last.len() == 1 && last[0].contains("150000"), "the log says what is missing: {last:?}");
            // It did not take the others with it.
            assert_eq!(admin.run("add", json!({"a": 1})).await["status"], "Success");
        })
        .await;
}

#[tokio::test]
async fn odd_outputs_are_bounded_and_named() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let admin = world.admin().await;

            let (reply, log) = ran(&admin, "long_line", json!({"size": 10 * 1024 * 1024})).await;
            assert_eq!(reply["status"], "Success", "{reply}");
            let long = log[0]["message"].as_str().expect("a line");
            assert!(long.len() <= 32_768 + 64 && long.starts_with("xxx"), "{} bytes", long.len());
            assert!(long.contains("line cut"), "the line says that it was cut: {}", &long[long.len() - 64..]);
            assert_eq!(log[1]["message"], "after");

            let (reply, log) = ran(&admin, "returns", json!({"what": "nan"})).await;
            assert_eq!(
                (&reply["status"], &reply["result"]),
                (&json!("Success"), &json!({"values": [null, null, 1.5]})),
                "{reply}"
            );
            assert_eq!(of_level(&log, "WARNING").len(), 1, "{log:?}");
            let (reply, log) = ran(&admin, "returns", json!({"what": "nul"})).await;
            assert_eq!(
                (&reply["status"], &reply["result"]),
                (&json!("Success"), &json!({"text": "a\u{fffd}b", "half": "\u{fffd}"})),
                "{reply}"
            );
            assert_eq!(of_level(&log, "WARNING").len(), 1, "{log:?}");
            for what in ["object", "circle"] {
                let (reply, _) = ran(&admin, "returns", json!({"what": what})).await;
                let status = reply["status"].as_str().expect("a status");
                assert!(["Success", "Failed"].contains(&status), "{reply}");
                if status == "Failed" {
                    assert_eq!(reply["error_type"], "ResultNotSerializable", "{reply}");
                } else {
                    assert!(reply["result"].is_string(), "what JSON does not have is text: {reply}");
                }
            }

            let (reply, log) = ran(&admin, "leaves", json!({})).await;
            assert_eq!(
                (&reply["status"], &reply["error_type"]),
                (&json!("Failed"), &json!("ProcessDied")),
                "{reply}"
            );
            assert!(reply["error"].as_str().is_some_and(|text| text.contains("code 3")), "{reply}");
            assert_eq!(log[0]["message"], "the last words", "what was said before is kept");

            let (reply, _) = ran(&admin, "refuse", json!({})).await;
            assert_eq!(
                (&reply["status"], &reply["error"]),
                (&json!("Failed"), &json!("the customer has no mailbox")),
                "{reply}"
            );
        })
        .await;
}

/// The traceback of a failed import is for administrators; a person of an organization, who may run workflows by a role, reads
/// that something failed, and no more, over REST and live.
#[tokio::test]
async fn a_traceback_is_for_administrators() {
    World::new(Mode::Stack)
        .await
        .run(async |world: &mut World| {
            let admin = world.admin().await;
            let (reply, log) = ran(&admin, "imports", json!({})).await;
            assert_eq!(
                (&reply["status"], &reply["error_type"]),
                (&json!("Failed"), &json!("ModuleNotFoundError")),
                "{reply}"
            );
            let traceback = of_level(&log, "TRACEBACK");
            assert!(
                traceback.len() == 1
                    && traceback[0].contains("a_module_that_is_not_installed")
                    && traceback[0].contains("misbehaving.py"),
                "{log:?}"
            );

            let member = member_who_may_run(world, &admin).await;
            let (reply, log) = ran(&member, "imports", json!({})).await;
            assert_eq!(
                (&reply["status"], &reply["error"], &reply["error_type"]),
                (&json!("Failed"), &json!("An error occurred during execution"), &json!(null)),
                "{reply}"
            );
            let id = reply["execution_id"].as_str().expect("an id");
            assert!(log.iter().any(|line| line["message"] == "before"), "{log:?}");
            let transient =
                member.execute(json!({"workflow_name": "imports", "transient": true})).await.of(200);
            assert_eq!(
                transient["logs"].as_array().map(|lines| lines[0]["message"].clone()),
                Some(json!("before"))
            );
            assert_eq!(transient["variables"], json!(null), "they are for administrators");
            assert!(!transient.to_string().contains("TRACEBACK"), "{transient}");
            let refused = member.get(&format!("/api/executions/{id}/variables")).await.of(403);
            assert_eq!(refused["detail"], "Superuser privileges required");
            assert_eq!(
                admin.get(&format!("/api/executions/{id}/variables")).await.of(200)["variables"],
                json!({})
            );
            let path = format!("/ws/execution/{id}?ticket={}&after=0", member.ticket().await);
            let mut live = crate::support::Live::open(world.address(), &path, &[]).await.expect("open");
            let (lines, end) = live.follow().await;
            let read = member.execution(id).await;
            let shown = format!("{log:?} {lines:?} {end} {read}");
            assert!(!shown.contains("a_module_that_is_not_installed"), "{shown}");
            assert!(!shown.contains("TRACEBACK"), "{shown}");
            // The administrator sees the same run whole; the person sees no other's run.
            assert_eq!(of_level(&admin.log(id).await, "TRACEBACK").len(), 1);
            let theirs = member.get("/api/executions").await.of(200);
            assert_eq!(theirs["executions"].as_array().map(Vec::len), Some(2), "{theirs}");
        })
        .await;
}
