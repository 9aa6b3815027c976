//! What the workspace's README tells to run is accepted as it is written, and ends well.

use super::{WORKFLOWS, read};
use crate::support::Client;
use futures::future::join_all;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Runs that take a minute: they are begun, and cancelled.
const LONG: [&str; 2] = ["inventory_sweep", "clean_old_profiles"];

pub(super) async fn rows_are_accepted(admin: &Client) {
    let readme = read("README.md");
    let rows: Vec<(String, Value)> =
        readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(parsed).collect();
    let workflows: Vec<_> = rows.iter().filter(|(name, _)| is_workflow(name)).collect();
    let told: BTreeSet<_> = workflows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(told, WORKFLOWS.iter().map(|(name, _)| *name).collect());
    join_all(workflows.into_iter().map(|(name, input)| async move {
        let id = admin.begin(name, input.clone()).await;
        if LONG.contains(&name.as_str()) {
            admin.post(&format!("/api/executions/{id}/cancel"), json!({})).await.of(200);
        }
        let end = admin.ended(&id).await;
        let good = if LONG.contains(&name.as_str()) {
            vec!["Cancelled"]
        } else {
            vec!["Success", "CompletedWithErrors"]
        };
        assert!(good.contains(&end["status"].as_str().expect("a status")), "{name} {input}: {end}");
    }))
    .await;
}

fn is_workflow(name: &str) -> bool {
    WORKFLOWS.iter().any(|(known, _)| *known == name)
}

/// A name and its `key=value` words, as a shell takes them apart: every value is a text.
fn parsed(command: &str) -> (String, Value) {
    let mut words = words(command).into_iter();
    let name = words.next().expect("a name");
    let pair = |word: String| {
        let (key, value) = word.split_once('=')?;
        Some((key.to_owned(), json!(value)))
    };
    (name, Value::Object(words.filter_map(pair).collect::<Map<_, _>>()))
}

fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in command.chars() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (Some(open), _) if open == letter => quote = None,
            _ => word.push(letter),
        }
    }
    words.push(word);
    words
}
