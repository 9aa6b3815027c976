//! The example workspace: every workflow and data provider of it runs and does what it shows.
//!
//! A new example belongs into [`WORKFLOWS`] or [`PROVIDERS`], with what can be seen of it; without that a test here fails.

mod long;
mod providers;
mod readme;
mod short;

use crate::support::{Client, Mode, World, member_who_may_run};
use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What is seen of one example.
type Case = for<'a> fn(&'a Client) -> LocalBoxFuture<'a, ()>;

const WORKFLOWS: &[(&str, Case)] = &[
    ("about_this_run", |admin| short::about_this_run(admin).boxed_local()),
    ("certificate_expiry", |admin| short::certificates(admin).boxed_local()),
    ("check_backups", |admin| short::backups(admin).boxed_local()),
    ("clean_old_profiles", |admin| long::profiles(admin).boxed_local()),
    ("customer_report", |admin| short::customer_report(admin).boxed_local()),
    ("inventory_sweep", |admin| long::inventory(admin).boxed_local()),
    ("licence_report", |admin| short::licences(admin).boxed_local()),
    ("lint_mail_records", |admin| short::mail_records(admin).boxed_local()),
    ("offboard_user", |admin| short::offboarding(admin).boxed_local()),
    ("onboard_user", |admin| long::onboarding(admin).boxed_local()),
    ("password_expiry_notice", |admin| short::passwords(admin).boxed_local()),
    ("patch_compliance", |admin| short::patches(admin).boxed_local()),
    ("shift_handover", |admin| short::handover(admin).boxed_local()),
    ("sync_price_list", |admin| long::price_list(admin).boxed_local()),
    ("triage_disk_space", |admin| short::disks(admin).boxed_local()),
    ("triage_tickets", |admin| short::tickets(admin).boxed_local()),
];

const PROVIDERS: &[(&str, Case)] = &[
    ("customers", |admin| providers::customers(admin).boxed_local()),
    ("departments", |admin| providers::departments(admin).boxed_local()),
    ("devices", |admin| providers::devices(admin).boxed_local()),
    ("managers", |admin| providers::managers(admin).boxed_local()),
    ("sites", |admin| providers::sites(admin).boxed_local()),
];

/// Cases that run side by side: more than there are slots for runs, so that some wait.
const AT_A_TIME: usize = 8;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/workspace")
}

fn read(path: &str) -> String {
    fs::read_to_string(folder().join(path)).expect("a file of the workspace")
}

/// The lines of a CSV of the workspace below its first one. No field of those that are read so has a comma.
fn rows(path: &str) -> Vec<Vec<String>> {
    read(path).lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

async fn world(mode: Mode) -> World {
    World::new(mode).await.with_workspace(&folder())
}

#[tokio::test]
async fn every_example_runs_embedded() {
    world(Mode::Embedded).await.run(every_example_runs).await;
}

#[tokio::test]
async fn every_example_runs_on_the_stack() {
    let case = async |world: &mut World| {
        every_example_runs(world).await;
        short::a_person_reads_why(&member_who_may_run(world, &world.admin().await).await).await;
    };
    world(Mode::Stack).await.run(case).await;
}

/// All of them in one world, many at once.
async fn every_example_runs(world: &mut World) {
    let admin = world.admin().await;
    every_example_has_its_case(&admin).await;
    // What is set here is nobody's but its reader's: the others run beside it.
    set(&admin, "distributor_token", json!(long::TOKEN), true).await;
    let cases = WORKFLOWS.iter().chain(PROVIDERS).map(|(_, case)| case(&admin));
    let cases = cases.chain([readme::rows_are_accepted(&admin).boxed_local()]);
    stream::iter(cases).buffer_unordered(AT_A_TIME).collect::<()>().await;
    for process in world.api.iter().chain(&world.jobs) {
        let said = process.said().join("\n");
        assert!(!said.contains(long::TOKEN), "a secret is in the log of {}", process.name());
    }
}

async fn every_example_has_its_case(admin: &Client) {
    let names = |cases: &[(&'static str, Case)]| -> BTreeSet<String> {
        cases.iter().map(|(name, _)| (*name).to_owned()).collect()
    };
    let listed = admin.get("/api/workflows").await.of(200);
    let listed = listed.as_array().expect("a list");
    let found: BTreeSet<String> =
        listed.iter().filter_map(|workflow| workflow["name"].as_str().map(str::to_owned)).collect();
    assert_eq!(found, names(WORKFLOWS));

    let mut declared = BTreeSet::new();
    for path in python_files(&folder()) {
        let source = fs::read_to_string(&path).expect("source");
        for decorator in source.split("@data_provider(name=\"").skip(1) {
            declared.extend(decorator.split('"').next().map(str::to_owned));
        }
        // No list shows data providers yet; each has a name of its own, or the count is wrong.
        assert_eq!(
            source.matches("@data_provider").count(),
            source.matches("@data_provider(name=\"").count()
        );

        let relative = path.strip_prefix(folder()).expect("in the folder").display().to_string();
        let report = admin.post("/api/workflows/validate", json!({"path": relative})).await.of(200);
        assert_eq!((&report["valid"], &report["issues"]), (&json!(true), &json!([])), "{relative}");
    }
    assert_eq!(declared, names(PROVIDERS));
    // What a field names is there.
    for parameter in listed.iter().flat_map(|workflow| workflow["parameters"].as_array().expect("a list")) {
        let provider = parameter["data_provider"].as_str();
        assert!(provider.is_none_or(|name| declared.contains(name)), "{parameter}");
    }
}

fn python_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(python_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "py") {
            found.push(path);
        }
    }
    found
}

/// One run after its end.
struct Ran {
    execution: Value,
    log: Vec<Value>,
}

impl Ran {
    fn status(&self) -> &str {
        self.execution["status"].as_str().expect("a status")
    }

    fn result(&self) -> &Value {
        &self.execution["result"]
    }

    fn id(&self) -> &str {
        self.execution["execution_id"].as_str().expect("an id")
    }

    /// The lines of one level.
    fn said(&self, level: &str) -> Vec<&str> {
        let lines = self.log.iter().filter(|line| line["level"] == level);
        lines.filter_map(|line| line["message"].as_str()).collect()
    }

    /// The result of a run that succeeded.
    #[track_caller]
    fn good(&self) -> &Value {
        assert_eq!(self.status(), "Success", "{}", self.execution);
        self.result()
    }

    /// The text of a run that failed with an error for everybody.
    #[track_caller]
    fn refusal(&self) -> &str {
        let end = (self.status(), &self.execution["error_type"]);
        assert_eq!(end, ("Failed", &json!("UserError")), "{}", self.execution);
        self.execution["error_message"].as_str().expect("a text")
    }
}

/// Runs a workflow to its end.
async fn ran(client: &Client, name: &str, input: Value) -> Ran {
    let id = client.begin(name, input).await;
    ended(client, &id).await
}

async fn ended(client: &Client, id: &str) -> Ran {
    let execution = client.ended(id).await;
    Ran { execution, log: client.log(id).await }
}

/// The paths of what is wrong with an input.
async fn wrong(client: &Client, name: &str, input: Value) -> Vec<(String, String)> {
    let refused = client.execute(json!({"workflow_name": name, "input_data": input})).await.of(422);
    let text = |error: &Value, field: &str| error[field].as_str().expect("a text").to_owned();
    let errors = refused["errors"].as_array().expect("errors").iter();
    errors.map(|error| (text(error, "path"), text(error, "message"))).collect()
}

fn path(name: &str, message: &str) -> (String, String) {
    (format!("input_data.{name}"), message.to_owned())
}

/// What posted code returns.
async fn code(client: &Client, source: &str, input: Value) -> Value {
    let body = json!({"code": crate::support::base64(source), "input_data": input});
    let done = client.execute(body).await.of(200);
    assert_eq!(done["status"], "Success", "{done}");
    done["result"].clone()
}

/// Sets a setting of the client's organization.
async fn set(client: &Client, key: &str, value: Value, is_secret: bool) {
    let source = "from bifrost import config\nawait config.set(key, value, is_secret=is_secret)";
    code(client, source, json!({"key": key, "value": value, "is_secret": is_secret})).await;
}

/// The same client, in a new organization.
async fn in_an_organization(admin: &Client, name: &str) -> (Client, Value) {
    let organization = admin.post("/api/organizations", json!({"name": name})).await.of(201);
    (admin.in_organization(organization["id"].as_str().expect("an id")), organization)
}
