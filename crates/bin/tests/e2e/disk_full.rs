//! A disk without room: said so, nothing accepted is lost, and nobody has to do anything when there is room again.
//!
//! The data folder is a small file system of its own, mounted where only the process under test sees it. Where neither root nor a user
//! namespace may mount, the process gets a limit on the size of its files instead: then every write fails as well.

use crate::support::{BIFROST, Client, Mode, PATIENCE, World, leave_out, until};
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
};

const FULL: &str = "the disk of the database is full or cannot be written";

/// The shorter lease of a worker.
const LEASE: Duration = Duration::from_secs(6);

/// Mounts beneath the data folder: path, options.
type Mounts = &'static [(&'static str, &'static str)];

/// How a process gets file systems of its own, if it can.
fn unshare() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["-m"], &["-Urm"]];
    ways.into_iter().find(|way| {
        let mut tried = std::process::Command::new("unshare");
        tried.args(*way).args(["mount", "-t", "tmpfs", "tmpfs", "/tmp"]).stderr(std::process::Stdio::null());
        tried.status().is_ok_and(|status| status.success())
    })
}

/// `bifrost dev` with `mounts`, or with no more than the chance of a limit (SIGXFSZ would end it).
fn launch(mounts: Mounts) -> impl Fn(&Path) -> Command {
    move |folder| {
        let data = folder.join("data");
        let mut script = String::from("trap '' XFSZ; umask 022; cd \"$1\" || exit 1; ");
        let mut command = match unshare() {
            Some(way) => {
                for (path, options) in mounts {
                    script.push_str(&format!("mkdir -p ./{path} && mount -t tmpfs -o mode=755,{options} tmpfs ./{path} || exit 1; cd \"$1\"; "));
                }
                let mut command = Command::new("unshare");
                command.args(way).arg("sh");
                command
            }
            None => Command::new("sh"),
        };
        script.push_str("exec \"$0\" dev");
        std::fs::create_dir_all(&data).expect("made");
        command.args(["-c", &script, BIFROST]).arg(&data);
        command
    }
}

/// The disk of a world.
enum Disk {
    /// A run fills it and waits for a byte.
    Small { door: TcpListener },
    /// Files may not grow.
    Limited { pid: u32 },
}

/// Until this is freed there is no room.
enum Filled {
    Small { run: String, door: TcpStream },
    Limited { pid: u32 },
}

impl Disk {
    async fn of(world: &World) -> Self {
        if unshare().is_some() {
            return Self::Small { door: TcpListener::bind("127.0.0.1:0").await.expect("a port") };
        }
        Self::Limited { pid: world.api.as_ref().expect("started").pid() }
    }

    async fn fill(&self, admin: &Client) -> Filled {
        match self {
            Self::Small { door } => {
                let port = door.local_addr().expect("an address").port();
                let run = admin.begin("fill_the_disk", json!({"port": port})).await;
                Filled::Small { run, door: knocked(door).await }
            }
            Self::Limited { pid } => {
                limit(*pid, "1");
                Filled::Limited { pid: *pid }
            }
        }
    }
}

async fn knocked(door: &TcpListener) -> TcpStream {
    let (mut stream, _) =
        tokio::time::timeout(PATIENCE, door.accept()).await.expect("in time").expect("a visitor");
    let mut word = [0; 4];
    stream.read_exact(&mut word).await.expect("a word");
    assert_eq!(&word, b"full");
    stream
}

/// The soft limit alone, so that it can be raised again.
fn limit(pid: u32, bytes: &str) {
    let done = std::process::Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--fsize={bytes}:")])
        .status();
    assert!(done.expect("prlimit of util-linux").success());
}

impl Filled {
    async fn free(self, admin: &Client) {
        match self {
            Self::Small { run, mut door } => {
                door.write_all(b"x").await.expect("it waits");
                let ended = admin.ended(&run).await;
                assert_eq!(
                    (&ended["status"], &ended["result"]),
                    (&json!("Success"), &json!("freed")),
                    "{ended}"
                );
            }
            Self::Limited { pid } => limit(pid, "unlimited"),
        }
    }
}

/// Asks for runs until one is refused because there is no room; the ids of those that were accepted before.
async fn refused(admin: &Client) -> Vec<String> {
    let mut accepted = Vec::new();
    let begun = Instant::now();
    loop {
        let request = json!({"workflow_name": "count", "input_data": {"lines": 3}});
        let reply = admin.execute(request).await;
        match reply.status {
            200 | 202 => accepted.push(reply.json()["execution_id"].as_str().expect("an id").to_owned()),
            503 => {
                let problem = reply.json();
                assert!(problem["detail"].as_str().is_some_and(|text| text.contains(FULL)), "{problem}");
                assert_eq!(problem["code"], "disk_full", "{problem}");
                return accepted;
            }
            other => panic!("{other}: {}", reply.text),
        }
        assert!(begun.elapsed() < PATIENCE, "the disk is full and runs are still accepted");
    }
}

async fn is_ready(admin: &Client) {
    until("ready again", PATIENCE, async || (admin.get("/health/ready").await.status == 200).then_some(()))
        .await;
}

fn numbers(log: &[Value]) -> Vec<u64> {
    log.iter().filter_map(|line| line["sequence"].as_u64()).collect()
}

#[tokio::test]
async fn nothing_is_lost_while_there_is_no_room() {
    World::new(Mode::Embedded)
        .await
        .launched(launch(&[(".", "size=24m")]))
        .with("WORKER_LEASE_SECONDS", "120")
        .run(async |world: &mut World| {
            let admin = world.admin().await;
            let disk = Disk::of(world).await;
            let writer = admin.begin("count", json!({"lines": 300, "pause": 0.02})).await;
            admin.line(&writer, "line 3").await;

            let filled = disk.fill(&admin).await;
            let accepted = refused(&admin).await;
            let health = until("unhealthy", PATIENCE, async || {
                let reply = admin.get("/health/ready").await;
                (reply.status == 503).then(|| reply.json())
            });
            let (health, _) = health.await;
            assert!(health["detail"].as_str().is_some_and(|text| text.contains(FULL)), "{health}");
            let detailed = admin.get("/health/detailed").await.of(503);
            let detail = &detailed["components"]["database"]["detail"];
            assert!(detail.as_str().is_some_and(|text| text.contains(FULL)), "{detailed}");
            // What needs no room is served: health itself, sign-in excepted, and every read.
            admin.get("/health/live").await.of(200);
            assert_eq!(admin.execution(&writer).await["status"], "Running");
            assert!(admin.log(&writer).await.len() >= 3);
            // The run goes on writing meanwhile.
            let stored = admin.log(&writer).await.len();
            tokio::time::sleep(Duration::from_secs(2)).await;
            refused(&admin).await;
            assert!(admin.log(&writer).await.len() <= stored + 100, "there is no room for its lines");

            filled.free(&admin).await;
            is_ready(&admin).await;
            for id in &accepted {
                let ended = admin.ended(id).await;
                assert_eq!((&ended["status"], &ended["attempt"]), (&json!("Success"), &json!(1)), "{ended}");
                assert_eq!(numbers(&admin.log(id).await), [1, 2, 3]);
            }
            let ended = admin.ended(&writer).await;
            assert_eq!(
                (&ended["status"], &ended["result"]),
                (&json!("Success"), &json!({"lines": 300})),
                "{ended}"
            );
            let log = admin.log(&writer).await;
            assert_eq!(numbers(&log), (1..=300).collect::<Vec<_>>(), "every line of it is stored");
            assert_eq!(log[299]["message"], "line 300");
            assert_eq!(admin.run("add", json!({"a": 1})).await["status"], "Success");
            let said = world.api.as_ref().expect("started").said().join("\n");
            assert!(!said.contains("lease ended"), "{said}");
        })
        .await;
}

/// Runs end when their worker cannot renew its lease. What they wrote up to then is kept by the worker, and stored with their end.
#[tokio::test]
async fn runs_that_outlive_their_lease_end_with_all_that_they_said() {
    World::new(Mode::Embedded)
        .await
        .launched(launch(&[(".", "size=24m")]))
        .with("WORKER_LEASE_SECONDS", &LEASE.as_secs().to_string())
        .run(async |world: &mut World| {
            let admin = world.admin().await;
            let disk = Disk::of(world).await;
            let writer = admin.begin("count", json!({"lines": 100_000, "pause": 0.02})).await;
            admin.line(&writer, "line 3").await;
            let filled = disk.fill(&admin).await;
            refused(&admin).await;
            let before = admin.log(&writer).await.len();
            // The run that holds the room has to end as well, and gives it back with its folder.
            if let Filled::Limited { .. } = filled {
                tokio::time::sleep(2 * LEASE).await;
                filled.free(&admin).await;
            }
            is_ready(&admin).await;
            let ended = admin.ended(&writer).await;
            assert_eq!(
                (&ended["status"], &ended["error_type"]),
                (&json!("Failed"), &json!("WorkerLost")),
                "{ended}"
            );
            let log = admin.log(&writer).await;
            assert_eq!(numbers(&log), (1..=log.len() as u64).collect::<Vec<_>>());
            let last = log.last().expect("lines");
            assert_eq!(
                (&last["level"], &last["message"]),
                (&json!("ERROR"), &json!("the worker lost its lease while it ran this"))
            );
            // Four seconds of lines, less what a busy machine makes of them.
            assert!(log.len() > before + 30, "{before} lines were stored before, {} are now", log.len());
            for (number, line) in log[..log.len() - 1].iter().enumerate() {
                assert_eq!(line["message"], format!("line {}", number + 1));
            }
            assert_eq!(admin.run("add", json!({"a": 1})).await["status"], "Success");
        })
        .await;
}

/// Other folders that may be full. Without mounts of our own there is no way to fill one alone: then this is left out when whoever runs
/// the tests says so, and these rules are tested where they are made (`results` and `missing` in the worker's suite, `ends` in the
/// runtime's).
#[tokio::test]
async fn other_folders_without_room_are_named() {
    if unshare().is_none() {
        leave_out("this user may not mount anything, so that no folder can be filled by itself");
        return;
    }
    World::new(Mode::Embedded)
        .await
        .launched(launch(&[("objects", "size=1m"), ("temp", "nr_inodes=40")]))
        .run(async |world: &mut World| {
            let admin = world.admin().await;

            let id = admin.begin("returns_text", json!({"size": 3_000_000})).await;
            let ended = admin.ended(&id).await;
            let text = "the result could not be stored: the disk of the object store is full; the result has 3000002 bytes";
            assert_eq!(
                (&ended["status"], &ended["error_type"], &ended["error_message"]),
                (&json!("Failed"), &json!("StorageError"), &json!(text)),
                "{ended}"
            );
            assert_eq!(admin.log(&id).await.last().map(|line| &line["message"]), Some(&json!(text)));
            let id = admin.begin("returns_text", json!({"size": 1_000})).await;
            assert_eq!(admin.ended(&id).await["status"], "Success");

            let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = door.local_addr().expect("an address").port();
            let filler = admin.begin("make_files", json!({"port": port})).await;
            let mut stream = knocked(&door).await;
            // Some children have their folders already: there are more runs than those.
            let mut runs = Vec::new();
            for _ in 0..24 {
                runs.push(admin.begin("count", json!({"lines": 1})).await);
            }
            let waiting = until("a run that cannot be started", PATIENCE, async || {
                for id in &runs {
                    let log = admin.log(id).await;
                    if log.iter().any(|line| line["level"] == "DEBUG") {
                        return Some(log);
                    }
                }
                None
            });
            let (log, _) = waiting.await;
            let why = log.iter().find(|line| line["level"] == "DEBUG").expect("a reason");
            let why = why["message"].as_str().expect("text");
            assert!(why.starts_with("NotStarted: the run could not be started: cannot make"), "{why}");
            assert!(why.contains("No space left on device"), "{why}");

            stream.write_all(b"x").await.expect("it waits");
            for id in runs {
                let ended = admin.ended(&id).await;
                assert_eq!(ended["status"], "Success", "{ended}");
            }
            assert_eq!(admin.ended(&filler).await["status"], "Success");
        })
        .await;
}
