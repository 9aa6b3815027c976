//! The data providers. There is no route for them yet: they are called as one workflow calls another's function.

use super::{code, rows};
use crate::support::{Client, base64};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a provider lists for these inputs.
async fn choices(admin: &Client, module: &str, provider: &str, inputs: Value) -> Vec<Value> {
    let listed = code(admin, &call(module, provider), inputs).await;
    let listed = listed.as_array().expect("a list").clone();
    for choice in &listed {
        assert!(choice["label"].as_str().is_some_and(|label| !label.is_empty()), "{choice}");
        assert!(choice["value"].as_str().is_some_and(|value| !value.is_empty()), "{choice}");
    }
    listed
}

fn call(module: &str, provider: &str) -> String {
    format!(
        "import inspect\nfrom {module} import {provider}\nlisted = {provider}(**parameters)\n\
         return await listed if inspect.isawaitable(listed) else listed"
    )
}

/// The text for everybody with which a provider refuses.
async fn refusal(admin: &Client, module: &str, provider: &str, inputs: Value) -> String {
    let body = json!({"code": base64(&call(module, provider)), "input_data": inputs});
    let done = admin.execute(body).await.of(200);
    assert_eq!((&done["status"], &done["error_type"]), (&json!("Failed"), &json!("UserError")), "{done}");
    done["error"].as_str().expect("a text").to_owned()
}

fn values(choices: &[Value]) -> BTreeSet<&str> {
    choices.iter().filter_map(|choice| choice["value"].as_str()).collect()
}

pub(super) async fn departments(admin: &Client) {
    let listed = choices(admin, "people.departments", "departments", json!({})).await;
    let table = rows("people/departments.csv");
    assert_eq!(listed.len(), table.len());
    assert_eq!(listed[0]["label"], table[0][1]);
    assert_eq!(listed[0]["metadata"]["groups"], json!(["all-staff", "it-admins", "vpn"]));
}

pub(super) async fn managers(admin: &Client) {
    // Each department has managers, and those of the table.
    let staff = rows("people/staff.csv");
    for row in rows("people/departments.csv") {
        let department = &row[0];
        let listed =
            choices(admin, "people.departments", "managers", json!({"department": department})).await;
        let of_table: BTreeSet<_> = staff
            .iter()
            .filter(|person| &person[2] == department && person[3] == "yes")
            .map(|person| person[0].as_str())
            .collect();
        assert_eq!(values(&listed), of_table, "{department}");
        let usual: Vec<_> = staff.iter().filter(|person| person[0] == row[2]).collect();
        assert!(usual.is_empty() || values(&listed).contains(row[2].as_str()), "{department}");
    }
    let text = refusal(admin, "people.departments", "managers", json!({"department": "zoo"})).await;
    assert_eq!(text, "Nobody manages a department `zoo`.");
}

pub(super) async fn customers(admin: &Client) {
    let listed = choices(admin, "customers.choices", "customers", json!({})).await;
    assert_eq!(values(&listed), BTreeSet::from(["contoso", "fabrikam", "northwind"]));
    assert_eq!(listed[2]["label"], "Northwind Traders, Inc.");
    assert_eq!(listed[1]["metadata"]["domain"], "fabrikam.example");
}

pub(super) async fn sites(admin: &Client) {
    // Customer decides about sites.
    for (customer, places) in [
        ("contoso", vec!["Leeds", "London"]),
        ("fabrikam", vec!["Köln"]),
        ("northwind", vec!["Portland", "Seattle"]),
    ] {
        let listed = choices(admin, "customers.choices", "sites", json!({"customer": customer})).await;
        assert_eq!(values(&listed), places.into_iter().collect(), "{customer}");
    }
    let text = refusal(admin, "customers.choices", "sites", json!({"customer": "acme"})).await;
    assert_eq!(text, "There is no customer `acme` with devices.");
}

pub(super) async fn devices(admin: &Client) {
    // Customer and site decide about devices.
    let table = rows("customers/devices.csv");
    let of = |customer: &str, site: Option<&str>| -> BTreeSet<&str> {
        let found = table.iter().filter(|row| row[0] == customer && site.is_none_or(|site| row[1] == site));
        found.map(|row| row[2].as_str()).collect()
    };
    let inputs = json!({"customer": "contoso", "site": "London"});
    let listed = choices(admin, "customers.choices", "devices", inputs).await;
    assert_eq!(values(&listed), of("contoso", Some("London")));
    assert_eq!(listed[0]["label"], "LON-DC01 · Windows Server 2022");
    let listed = choices(admin, "customers.choices", "devices", json!({"customer": "contoso"})).await;
    assert_eq!(values(&listed), of("contoso", None));
    // A site of somebody else has none.
    let inputs = json!({"customer": "fabrikam", "site": "London"});
    assert_eq!(choices(admin, "customers.choices", "devices", inputs).await, [json!(null); 0]);
}
