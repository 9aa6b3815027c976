//! `bifrost migrate`, and what the programs say about a schema that is not theirs.

use crate::support::{Mode, PATIENCE, Process, World, until};
use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use std::process::Stdio;
use tokio::{process::Command, time::timeout};

/// Makes two tests of each `async fn(&mut World)`, over a ground on which nothing was started: SQLite and PostgreSQL.
macro_rules! unstarted {
    ($($case:ident),+ $(,)?) => {$(
        mod $case {
            use crate::support::{Mode, World};

            #[tokio::test]
            async fn sqlite() {
                World::new(Mode::Embedded).await.run_unstarted(super::$case).await;
            }

            #[tokio::test]
            async fn postgres() {
                World::new(Mode::Stack).await.run_unstarted(super::$case).await;
            }
        }
    )+};
}

unstarted![
    every_command_does_what_it_says,
    what_cannot_be_undone_needs_consent,
    an_older_program_refuses_and_says_so,
    of_two_at_once_one_does_it,
    one_that_came_late_is_applied,
];

/// What a command said.
struct Said {
    code: i32,
    out: String,
    error: String,
}

impl Said {
    /// What it printed, when it ended well.
    #[track_caller]
    fn good(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.error);
        assert_eq!(self.error, "");
        self.out
    }

    /// Its one line of complaint.
    #[track_caller]
    fn refused(self) -> String {
        assert_eq!(self.code, 1, "{}{}", self.out, self.error);
        assert_eq!(self.error.lines().count(), 1, "{}", self.error);
        self.error
    }
}

/// What every command gets of the settings: none of the queue, the bus, the keys.
fn settings(world: &World, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = world.settings();
    all.retain(|(name, _)| {
        name == "DATA_DIR" || name == "DATABASE_URL" && !more.iter().any(|(other, _)| other == name)
    });
    all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    all
}

/// Runs `bifrost migrate …` with nobody at the terminal.
async fn migrate_with(arguments: &str, settings: &[(String, String)]) -> Said {
    let command = Command::new(env!("CARGO_BIN_EXE_bifrost"))
        .arg("migrate")
        .args(arguments.split_whitespace())
        .env_clear()
        .envs(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, command).await.expect("it ends").expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code().expect("a code"), out: text(output.stdout), error: text(output.stderr) }
}

async fn migrate(world: &World, arguments: &str) -> Said {
    migrate_with(arguments, &settings(world, &[])).await
}

/// Runs a statement in the world's database.
async fn execute(world: &World, sql: &str) {
    if world.mode == Mode::Stack {
        world.database().connect().await.execute(sql).await.expect("done");
    } else {
        let url = format!("sqlite:{}", world.data().join("bifrost.db").display());
        let mut file = SqliteConnection::connect(&url).await.expect("the file");
        file.execute(sql).await.expect("done");
        file.close().await.expect("closed");
    }
}

const NEXT: &str =
    "INSERT INTO schema_migrations (version, applied_at) VALUES ('m20990101_000001_future', 1800000000)";

/// How many migrations there are, by `status`.
async fn count(world: &World) -> usize {
    let status: Value = serde_json::from_str(&migrate(world, "status --json").await.good()).expect("JSON");
    status["migrations"].as_array().expect("a list").len()
}

async fn every_command_does_what_it_says(world: &mut World) {
    let status: Value = serde_json::from_str(&migrate(world, "status --json").await.good()).expect("JSON");
    assert_eq!((&status["applied"], &status["unknown"]), (&Value::from(0), &Value::from(0)), "{status}");
    let names: Vec<String> = status["migrations"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(status["pending"], names.len());
    assert!(!world.data().join("bifrost.db").exists(), "who looks makes nothing");
    assert_eq!(migrate(world, "status --check").await.code, 1);
    assert!(migrate(world, "history").await.good().contains("nothing is applied"));
    assert!(migrate(world, "check").await.refused().contains("migrations pending"));

    let said = migrate(world, "up 2").await.good();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(
        lines[0].starts_with(if world.mode == Mode::Stack { "postgres at " } else { "sqlite at " }),
        "{said}"
    );
    assert!(lines[1].contains(&format!("applied     {} (", names[0])) && lines[1].ends_with("ms)"), "{said}");
    assert!(lines[3].starts_with("2 migrations applied in "), "{said}");
    let said = migrate(world, "status").await.good();
    assert!(said.contains(&format!("2 applied, {} pending", names.len() - 2)), "{said}");

    let said = migrate(world, "up").await.good();
    assert_eq!(said.contains("daily partitions made"), world.mode == Mode::Stack, "{said}");
    assert!(migrate(world, "up").await.good().contains("nothing is pending"));
    assert_eq!(migrate(world, "status --check").await.code, 0);
    assert_eq!(migrate(world, "check").await.good(), "the schema is what the migrations make\n");
    let history = migrate(world, "history --verbose").await.good();
    assert!(history.lines().next().is_some_and(|line| line.ends_with(&names[0])), "{history}");
    assert!(history.contains("    Organizations, users, roles"), "{history}");
    let history: Value = serde_json::from_str(&migrate(world, "history --json").await.good()).expect("JSON");
    assert_eq!(history.as_array().expect("a list").len(), names.len());
    assert!(history[0]["applied_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{history}");

    execute(world, "ALTER TABLE executions ADD COLUMN mood text").await;
    let said = migrate(world, "check").await;
    assert_eq!((said.code, said.error.as_str()), (1, ""));
    assert_eq!(said.out, "  extra    table executions, column mood: text\n1 difference\n");
    let said: Value = serde_json::from_str(&migrate(world, "check --json").await.out).expect("JSON");
    assert_eq!(said["differences"][0]["part"], "column mood", "{said}");

    let said = migrate(world, "down 2 --yes").await.good();
    assert!(said.contains(&format!("taken back  {}", names[names.len() - 1])), "{said}");
    assert!(said.contains("2 migrations taken back in "), "{said}");
    let said = migrate(world, "stamp --yes").await.good();
    assert!(said.contains(&format!("recorded    {} (not run)", names[names.len() - 1])), "{said}");
    let said = migrate(world, "check").await;
    assert!(said.code == 1 && said.out.contains("  missing  "), "{}", said.out);
    let said = migrate(world, &format!("stamp {} --yes", names[0])).await.good();
    assert!(said.contains(&format!("forgotten   {} (not taken back)", names[1])), "{said}");
    assert!(migrate(world, "stamp m1 --yes").await.refused().contains("there is no migration m1"));
    // The tables are there, but not in the record.
    let said = migrate(world, "up").await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(
        said.error.contains(&names[1]) && said.error.contains("nothing of it was kept"),
        "{}",
        said.error
    );
    assert!(said.error.contains("workflows") && said.error.contains("already exists"), "{}", said.error);
    let said = migrate(world, "fresh --yes").await.good();
    assert!(said.contains("dropped     ") && said.contains("made anew in "), "{said}");
    assert_eq!(migrate(world, "check").await.code, 0);
    assert_eq!(migrate(world, "down 100 --yes").await.good().matches("taken back  m").count(), names.len());
    assert!(migrate(world, "down --yes").await.good().contains("nothing is applied"));
    for wrong in ["up 0", "down 0", "down -1", "up 99999999999", "sideways", "generate"] {
        assert_eq!(migrate(world, wrong).await.code, 2, "{wrong}");
    }
}

async fn what_cannot_be_undone_needs_consent(world: &mut World) {
    migrate(world, "up").await.good();
    for command in ["down", "fresh", "stamp"] {
        assert!(migrate(world, command).await.refused().contains("say --yes"), "{command}");
        let production = settings(world, &[("ENVIRONMENT", "production")]);
        for asked in [command.to_owned(), format!("{command} --yes")] {
            let said = migrate_with(&asked, &production).await.refused();
            assert!(said.contains("--yes-in-production"), "{said}");
        }
    }
    assert_eq!(migrate(world, "status --check").await.code, 0, "nothing was done");
    // Production needs no key for it, and what is wrong elsewhere is no matter of it.
    let production = settings(world, &[("ENVIRONMENT", "production"), ("PORT", "99999")]);
    migrate_with("down --yes-in-production", &production).await.good();
    migrate_with("up", &production).await.good();

    for (name, value) in
        [("DATABASE_URL", "mysql://x"), ("DATABSE_URL", "postgres://x/y"), ("ENVIRONMENT", "prod")]
    {
        let said = migrate_with("status", &settings(world, &[(name, value)])).await;
        assert_eq!(said.code, 78, "{name}");
        assert!(said.error.contains(name) && !said.error.contains("mysql"), "{}", said.error);
    }
    let away = settings(world, &[("DATABASE_URL", "postgres://bob:secret@127.0.0.1:1/bifrost")]);
    for command in ["up", "status", "check", "history", "down --yes"] {
        let said = migrate_with(command, &away).await.refused();
        let expected = "bifrost: nothing listens for postgres at 127.0.0.1:1/bifrost: start PostgreSQL, or correct DATABASE_URL\n";
        assert_eq!(said, expected, "{command}");
    }
    if world.mode == Mode::Stack {
        let url = settings(world, &[]).into_iter().find(|(name, _)| name == "DATABASE_URL").expect("set").1;
        let nowhere = format!("{}/bifrost_nowhere", url.rsplit_once('/').expect("a name").0);
        let said = migrate_with("up", &settings(world, &[("DATABASE_URL", &nowhere)])).await.refused();
        assert!(said.contains("has no such database") && said.contains("correct DATABASE_URL"), "{said}");
    }
}

async fn an_older_program_refuses_and_says_so(world: &mut World) {
    migrate(world, "up").await.good();
    let known = count(world).await;
    execute(world, NEXT).await;
    let newer = "the database is newer than this program: it has the migration m20990101_000001_future; install the newer program";
    for command in ["up", "down --yes", "stamp --yes", "check"] {
        assert_eq!(migrate(world, command).await.refused(), format!("bifrost: {newer}\n"), "{command}");
    }
    let programs: &[&str] =
        if world.mode == Mode::Stack { &["bifrost-api", "bifrost-jobs"] } else { &["bifrost"] };
    for program in programs {
        let (code, said) = Process::start(program, &world.settings()).fails().await;
        assert_eq!(code, 1, "{said}");
        let complaints: Vec<&str> = said.lines().filter(|line| line.starts_with("bifrost: ")).collect();
        assert_eq!(complaints, [format!("bifrost: {newer}")], "{program}: {said}");
    }
    let said = migrate(world, "status").await.good();
    let line = said.lines().find(|line| line.contains("m20990101_000001_future")).expect("its line");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "unknown m20990101_000001_future 2027-01-15 08:00:00Z unknown to this program"
    );
    assert!(said.contains(&format!("{known} applied, 0 pending, 1 unknown to this program")), "{said}");
    assert_eq!(migrate(world, "status --check").await.code, 1);
    let history = migrate(world, "history").await.good();
    assert!(history.lines().last().is_some_and(|line| line.contains("m20990101_000001_future")), "{history}");
}

async fn of_two_at_once_one_does_it(world: &mut World) {
    let (first, second) = if world.mode == Mode::Stack {
        // Both are there before either can begin.
        let mut holder = world.database().connect().await;
        holder.execute("SELECT pg_advisory_lock(4216000)").await.expect("held");
        let both = async { tokio::join!(migrate(world, "up"), migrate(world, "up")) };
        let release = async {
            until("both wait", PATIENCE, async || {
                let waiting: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
                     (SELECT oid FROM pg_database WHERE datname = current_database())",
                )
                .fetch_one(&mut holder)
                .await
                .expect("asked");
                (waiting == 2).then_some(())
            })
            .await;
            holder.execute("SELECT pg_advisory_unlock(4216000)").await.expect("released");
        };
        let (both, ()) = tokio::join!(both, release);
        for said in [&both.0, &both.1] {
            assert!(said.out.contains("another process changes the schema; waiting for it"), "{}", said.out);
        }
        both
    } else {
        tokio::join!(migrate(world, "up"), migrate(world, "up"))
    };
    let said = [first.good(), second.good()];
    assert_eq!(said.iter().filter(|said| said.contains("nothing is pending")).count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|said| said.contains("migrations applied")).count(), 1, "{said:?}");
    assert_eq!(migrate(world, "check").await.code, 0);
}

async fn one_that_came_late_is_applied(world: &mut World) {
    migrate(world, "up").await.good();
    // As if two branches had met: the later one is applied, an earlier one is not.
    execute(world, "DROP TABLE leases; DROP TABLE workers; DELETE FROM schema_migrations WHERE version = 'm20261120_000004_workers'").await;
    let said = migrate(world, "status").await.good();
    assert!(
        said.contains("pending  m20261120_000004_workers") && said.contains("a later one is applied"),
        "{said}"
    );
    let said = migrate(world, "up").await.good();
    assert!(
        said.contains("applied     m20261120_000004_workers (") && said.contains(", after a later one)"),
        "{said}"
    );
    assert_eq!(migrate(world, "check").await.code, 0);
}

#[tokio::test]
async fn a_running_program_keeps_its_file() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            for command in ["up", "down --yes", "fresh --yes", "stamp --yes"] {
                let said = migrate(world, command).await.refused();
                assert!(said.contains("another `bifrost dev`; stop it"), "{command}: {said}");
            }
            assert_eq!(migrate(world, "status --check").await.code, 0, "looking is allowed");
            assert_eq!(migrate(world, "check").await.code, 0);
            world.admin().await.get("/auth/me").await.of(200);
        })
        .await;
}

#[tokio::test]
async fn a_user_who_may_not_create_is_told_what_to_run() {
    World::new(Mode::Stack)
        .await
        .run_unstarted(async |world: &mut World| {
            let mut owner = world.database().connect().await;
            let role = format!("{}_guest", world.database().name());
            // The password is for servers that ask for one.
            owner.execute(format!("CREATE ROLE {role} LOGIN PASSWORD 'guest'").as_str()).await.expect("made");
            let url = as_user(world.database().url(), &role);
            // PostgreSQL 15 gives nobody CREATE on `public`; an older database that was upgraded may.
            owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.expect("revoked");
            let outcome = std::panic::AssertUnwindSafe(refused_to(world, &role, &url));
            let outcome = futures::FutureExt::catch_unwind(outcome).await;
            remove_role(&mut owner, &role).await;
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        })
        .await;
}

fn as_user(url: &str, role: &str) -> String {
    let (_, rest) = url.split_once("://").expect("an address");
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("postgres://{role}:guest@{host}")
}

async fn remove_role(owner: &mut PgConnection, role: &str) {
    let statement = format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}");
    owner.execute(statement.as_str()).await.expect("removed");
}

async fn refused_to(world: &World, role: &str, url: &str) {
    let grant = format!("GRANT CREATE ON SCHEMA public TO {role}");
    let said = migrate_with("up", &settings(world, &[("DATABASE_URL", url)])).await.refused();
    assert!(said.contains(&grant) && said.contains("permission denied"), "{said}");
    assert_eq!(
        migrate_with("status --check", &settings(world, &[("DATABASE_URL", url)])).await.code,
        1,
        "it may look"
    );
    let mut all = world.settings();
    all.retain(|(name, _)| name != "DATABASE_URL");
    all.push(("DATABASE_URL".to_owned(), url.to_owned()));
    for program in ["bifrost-api", "bifrost-jobs"] {
        let (code, said) = Process::start(program, &all).fails().await;
        assert_eq!(code, 1, "{said}");
        let complaints: Vec<&str> = said.lines().filter(|line| line.starts_with("bifrost: ")).collect();
        let says = |words: &str| complaints.iter().all(|line| line.contains(words));
        assert!(complaints.len() == 1 && says("GRANT CREATE") && says(role), "{program}: {said}");
    }
    // Tables of somebody else's are as much in the way.
    migrate(world, "up").await.good();
    execute(world, &format!("GRANT SELECT ON schema_migrations TO {role}; DROP TABLE live_tickets; DELETE FROM schema_migrations WHERE version = 'm20261120_000006_live_tickets'; \
        {grant}")).await;
    let said = migrate_with("up", &settings(world, &[("DATABASE_URL", url)])).await.refused();
    assert!(said.contains(&format!("tables that are there already have to belong to {role}")), "{said}");
    // Done as told, it works.
    execute(world, &format!("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO {role}; {grant}")).await;
    migrate_with("up", &settings(world, &[("DATABASE_URL", url)])).await.good();
    assert_eq!(migrate_with("check", &settings(world, &[("DATABASE_URL", url)])).await.code, 0);
}
