//! The list and both files show the same lines, with the same fields.

use super::{ADMIN, ADMIN_PASSWORD};
use crate::support::{Server, tokens};
use bifrost_storage::audit::Line;
use serde_json::{Map, Value, json};

/// `lines` are all that there are, oldest first.
pub(super) async fn shows_the_same(server: &Server, lines: &[Line]) {
    let (token, _) = tokens(&server.login(ADMIN, ADMIN_PASSWORD).await);
    let mut expected: Vec<Value> = lines.iter().rev().map(shown).collect();
    // Newest first, and this sign-in is the newest.
    let listed = server.get("/api/audit?limit=1000", &token).await.json();
    let listed = listed["entries"].as_array().expect("entries")[1..].to_vec();
    assert_eq!(listed, expected);
    let file = server.get("/api/audit/export?format=json", &token).await.json();
    assert_eq!(file["entries"].as_array().expect("entries")[1..], expected);

    let file = server.get("/api/audit/export", &token).await.text;
    let mut records = records(&file);
    let names = records.remove(0);
    // A file of texts has no null and no object.
    for line in &mut expected {
        for value in line.as_object_mut().expect("an object").values_mut() {
            *value = match value.take() {
                Value::Null => json!(""),
                Value::Object(fields) => json!(Value::Object(fields).to_string()),
                other => other,
            };
        }
        line["at"] = json!(line["at"].as_str().expect("a time").replace('Z', "+00:00"));
    }
    let read = records[1..].iter().map(|cells| {
        assert_eq!(cells.len(), names.len(), "{cells:?}");
        Value::Object(names.iter().cloned().zip(cells.iter().map(|cell| json!(cell))).collect::<Map<_, _>>())
    });
    assert_eq!(read.collect::<Vec<_>>(), expected);
}

fn shown(line: &Line) -> Value {
    json!({
        "id": line.id, "at": line.at, "organization_id": line.organization_id, "actor_id": line.actor_id,
        "actor_email": line.actor_email, "actor_name": line.actor_name, "application_id": line.application_id,
        "on_behalf_of": line.on_behalf_of, "action": line.action, "resource_type": line.resource_type,
        "resource_id": line.resource_id, "outcome": line.outcome, "changes": line.changes, "detail": line.detail,
        "request_id": line.request_id, "ip_address": line.ip_address,
    })
}

/// RFC 4180, read as it is written there.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut letters) = (false, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            other => cell.push(other),
        }
    }
    assert!(!quoted && record.is_empty() && cell.is_empty(), "the file ends in the middle");
    records
}
