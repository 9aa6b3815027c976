//! The command line against a running server: what it prints where, how it ends, and that it goes on through restarts.

use crate::{
    in_both_modes,
    support::{BIFROST, Cli, Mode, PATIENCE, World, command, unique, until},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

in_both_modes!(a_workflow_is_run_from_a_shell, a_log_is_followed_across_a_restart);

const FOR_CLI: &str = include_str!("workspace/for_cli.py");

/// Adds the workflows of these tests and waits until they can be run.
async fn with_more_workflows(world: &World, cli: &Cli) {
    world.write("for_cli.py", FOR_CLI);
    until("the new workflows", PATIENCE, async || {
        let listed = cli.run(&["workflows", "exact", "--json"]).await.json(0);
        (listed[0]["name"] == "exact").then_some(())
    })
    .await;
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

async fn a_workflow_is_run_from_a_shell(world: &mut World) {
    let cli = Cli::admin(world).await;
    let mode = fs::metadata(cli.credentials()).expect("saved").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let me = cli.run(&["whoami"]).await;
    assert!(me.out.starts_with("admin@localhost (platform administrator) at http://127.0.0.1:"), "{me:?}");
    assert_eq!(cli.run(&["whoami", "--json"]).await.json(0)["email"], "admin@localhost");

    let list = cli.run(&["workflows"]).await;
    let add = list.out.lines().find(|line| line.starts_with("add ")).expect("add");
    assert_eq!(words(add), ["add", "Basics", "sync", "Adds", "two", "numbers."]);
    assert!(!list.out.contains('\u{1b}'), "no colours in a pipe: {list:?}");
    let parameters = cli.run(&["workflows", "add", "--parameters"]).await.out;
    let rows: Vec<_> = parameters.lines().skip(2).map(words).collect();
    assert_eq!(rows, [vec!["a", "int", "yes"], vec!["b", "int", "2"]], "{parameters}");
    let found = cli.run(&["workflows", "PEOPLE", "--json"]).await.json(0);
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");

    // Synchronous: the result is on standard output, how it ended beside it.
    let done = cli.run(&["run", "add", "a=40"]).await;
    assert_eq!((done.code, done.out.as_str()), (0, "{\n  \"sum\": 42\n}\n"), "{done:?}");
    done.is(0, "add Success after ");
    let whole = cli.run(&["run", "add", "--json", "a:=1", "b=4"]).await;
    assert_eq!(whole.err, "", "scripts see the object alone");
    let whole = whole.json(0);
    assert_eq!(
        (&whole["status"], &whole["result"], &whole["input_data"]),
        (&json!("Success"), &json!({"sum": 5}), &json!({"a": 1, "b": 4}))
    );
    let refused = cli.run(&["run", "refuse"]).await;
    assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{refused:?}");
    assert!(
        refused.err.contains("Failed") && refused.err.contains("the customer has no mailbox"),
        "{refused:?}"
    );
    assert_eq!(cli.run(&["run", "refuse", "--json"]).await.json(1)["status"], "Failed");

    // Asynchronous: the id at once, or everything.
    let begun = cli.run(&["run", "count", "lines=5"]).await;
    let id = begun.out.trim().to_owned();
    begun.is(0, &format!("bifrost logs {id} --follow"));
    let log = cli.run(&["logs", &id, "--follow"]).await;
    log.is(0, "count Success");
    let messages: Vec<_> = log.out.lines().map(|line| words(line)[1..].join(" ")).collect();
    assert_eq!(
        messages,
        ["INFO line 1", "INFO line 2", "INFO line 3", "INFO line 4", "INFO line 5"],
        "{log:?}"
    );
    let tail = cli.run(&["logs", &id, "--tail", "2", "--json"]).await;
    let tail: Vec<Value> = tail.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((tail.len(), &tail[0]["sequence"], &tail[1]["message"]), (2, &json!(4), &json!("line 5")));
    assert_eq!(cli.run(&["logs", &id, "--tail", "2", "--follow"]).await.out.lines().count(), 2);
    assert_eq!(cli.run(&["logs", &id, "--level", "warning"]).await.out, "");
    let followed = cli.run(&["run", "count", "lines=3", "--follow", "--json"]).await;
    assert_eq!(followed.err.lines().count(), 3, "{followed:?}");
    assert_eq!(followed.json(0)["result"], json!({"lines": 3}));
    let waited = cli.run(&["run", "count", "--wait", "lines=1"]).await;
    assert_eq!((waited.code, waited.out.as_str()), (0, "{\n  \"lines\": 1\n}\n"), "{waited:?}");
    let later = cli.run(&["run", "add", "a=1", "--delay", "3600", "--json"]).await.json(0);
    assert_eq!(later["status"], "Scheduled");

    // What ran.
    let list = cli.run(&["executions", "--workflow", "count", "--status", "Success"]).await;
    assert_eq!(list.out.lines().count(), 4, "{list:?}");
    let one = cli.run(&["executions", &id]).await;
    one.is(0, "workflow    count");
    assert_eq!(one.out, "{\n  \"lines\": 5\n}\n", "{one:?}");

    // A run that takes long is left, and ended.
    let mark = &unique("cl")[..15];
    let left = cli.run(&["run", "stay", &format!("mark={mark}"), "--wait", "--timeout", "1"]).await;
    left.is(124, "has not ended within 1 s");
    let running = cli.run(&["executions", "--workflow", "stay", "--json"]).await.json(0);
    let id = running[0]["execution_id"].as_str().expect("an id").to_owned();
    assert!(left.err.contains(&format!("bifrost cancel {id}")), "{left:?}");
    let cancelled = cli.run(&["cancel", &id]).await;
    assert!(cancelled.code == 0 && cancelled.out.starts_with("Cancel"), "{cancelled:?}");
    cli.run(&["logs", &id, "--follow"]).await.is(1, "stay Cancelled");
    assert_eq!(cli.run(&["cancel", &id, "--json"]).await.json(0)["status"], "Cancelled");
}

/// Whoever follows sees the run to its end, each line once, though the server is killed in the middle. In the stack the run itself does
/// not notice; embedded it dies with its server, and that is told.
async fn a_log_is_followed_across_a_restart(world: &mut World) {
    let cli = Cli::admin(world).await;
    let lines = if world.mode == Mode::Stack { 60 } else { 6_000 };
    let mut running = cli.start(&["run", "count", &format!("lines={lines}"), "pause=0.1", "--follow"]);
    running.says("line 10").await;
    world.kill_api().await;
    running.says("trying again, the run goes on").await;
    world.start_api_again().await;
    running.says("connected again").await;
    let code = running.ended().await.code();
    let (end, expected) = if world.mode == Mode::Stack { ("count Success", 0) } else { ("count Failed", 1) };
    running.says(end).await;
    assert_eq!(code, Some(expected));
    let said = running.said();
    let numbers: Vec<usize> = said
        .iter()
        .filter_map(|line| line.split_once("INFO      line ").and_then(|(_, number)| number.parse().ok()))
        .collect();
    let wanted: Vec<usize> = (1..=numbers.len()).collect();
    assert_eq!(numbers, wanted, "each line once and in order");
    if world.mode == Mode::Stack {
        assert_eq!(numbers.len(), lines);
    } else {
        assert!(said.iter().any(|line| line.contains("WorkerLost")), "{said:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_has_its_exit_code_and_its_words() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let url = format!("http://{}", world.address());
            let nobody = Cli::new(&url);
            nobody.run(&["workflows"]).await.is(4, &format!("run `bifrost login {url}`"));
            nobody
                .feed(&["login", "--email", "admin@localhost", "--password-stdin"], "wrong\n")
                .await
                .is(4, "does not accept this e-mail and password");
            assert!(!nobody.credentials().exists(), "nothing is kept");
            nobody.run(&["login"]).await.is(2, "--email");
            nobody.run(&["login", "--email", "x@y.example"]).await.is(2, "--password-stdin");
            nobody.run(&["login", "http://bifrost.example"]).await.is(2, "--insecure-http");
            nobody.run(&["whoami", "--url", "ftp://x"]).await.is(2, "expected http://");
            nobody
                .run(&["whoami", "--url", "http://127.0.0.1:1"])
                .await
                .is(3, "nothing answers at http://127.0.0.1:1");
            nobody.run(&["whoami", "--url", &url.replace("http", "https")]).await.is(3, "speaks no TLS");
            let other = somebody_else().await;
            nobody.run(&["whoami", "--url", &other]).await.is(3, "not as Bifrost does");

            let cli = Cli::admin(world).await;
            cli.run(&["run", "ad"]).await.is(5, "did you mean `add`?");
            cli.run(&["run", "something_else"]).await.is(5, "`bifrost workflows` lists them");
            cli.run(&["run", "add", "a"]).await.is(2, "is not key=value");
            cli.run(&["run", "add", "a=1", "c=2"]).await.is(6, "c: is no parameter");
            cli.run(&["run", "add", "a=x", "b=[]"]).await.is(6, "\n  input_data.a: must be a whole number");
            cli.run(&["run", "add"]).await.is(6, "input_data.a: is required");
            cli.run(&["run", "add", "a=1", "--delay", "604801"])
                .await
                .is(6, "delay_seconds: must be between");
            cli.feed(&["run", "add", "--input", "-"], "[1]")
                .await
                .is(6, "standard input is not a JSON object");
            for status in ["Wrong", ""] {
                cli.run(&["executions", "--status", status])
                    .await
                    .is(2, "[possible values: Scheduled, Pending, Running, Success, CompletedWithErrors, ");
            }
            assert_eq!(cli.run(&["executions", "--status", "completedwitherrors"]).await.code, 0);
            let unknown = "01900000-0000-7000-8000-000000000000";
            for command in ["logs", "cancel", "executions"] {
                assert_eq!(cli.run(&[command, unknown]).await.code, 5, "{command}");
                assert_eq!(cli.run(&[command, "no-id"]).await.code, 6, "{command}");
            }
            cli.run(&["logs", unknown, "--follow"]).await.is(5, "not found");
            cli.run(&["whoami", "--organization", unknown]).await.is(6, "");
            for usage in [
                &["run"][..],
                &["nonsense"],
                &["logs", "x", "--level", "loud"],
                &["executions", "--limit", "0"],
            ] {
                assert_eq!(cli.run(usage).await.code, 2, "{usage:?}");
            }

            // Every command explains itself, with examples where there is something to show.
            let help = cli.run(&["--help"]).await;
            for command in [
                "dev",
                "doctor",
                "login",
                "logout",
                "whoami",
                "workflows",
                "run",
                "logs",
                "executions",
                "cancel",
                "openapi",
                "completions",
            ] {
                assert!(help.out.contains(&format!("\n  {command} ")), "{command}: {}", help.out);
                assert_eq!(cli.run(&[command, "--help"]).await.code, 0, "{command}");
            }
            for shell in ["bash", "zsh", "fish"] {
                assert!(cli.run(&["completions", shell]).await.out.contains("executions"), "{shell}");
            }
            assert!(cli.run(&["--version"]).await.out.starts_with("bifrost 0."));
        })
        .await;
}

/// A file that cannot be written is found out before there is a run whose result would be lost: here nobody could be asked for one.
#[tokio::test]
async fn a_file_that_cannot_be_written_is_told_before_anything_runs() {
    let cli = Cli::new("http://127.0.0.1:1");
    let at = |path: &str| cli.home().join(path).display().to_string();
    let (old, new) = (at("old"), at("new"));
    fs::write(&old, "old").expect("written");
    let (nowhere, folder) = (at("no/file"), at("."));
    for begin in [&["run", "page"], &["executions", "01900000-0000-7000-8000-000000000000"]] {
        let output = async |file: &str| cli.run(&[begin[0], begin[1], "--output", file]).await;
        output(&nowhere).await.is(1, "cannot be written: there is no folder ");
        output(&folder).await.is(1, "cannot be written: it is a folder");
        // These could be written, and are not: there is no result.
        output(&old).await.is(3, "nothing answers");
        output(&new).await.is(3, "nothing answers");
    }
    assert_eq!(fs::read_to_string(&old).expect("there"), "old");
    assert!(!fs::exists(&new).expect("looked"));

    // A folder that is somebody else's. Root may write there, and its program may lie where nobody else can read.
    let (closed, theirs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    for folder in [&closed, &theirs] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).expect("permissions");
    }
    let file = closed.path().join("file").display().to_string();
    let arguments = ["run", "page", "--output", &file];
    let output = if nix::unistd::geteuid().is_root() {
        let program = theirs.path().join("bifrost");
        fs::copy(BIFROST, &program).expect("copied");
        let mut run = command(&program.display().to_string(), &arguments, cli.variables());
        run.uid(65_534).gid(65_534).output().await
    } else {
        command(BIFROST, &arguments, cli.variables()).output().await
    };
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be written: Permission denied"), "{said}");
}

/// A web server that is no Bifrost.
async fn somebody_else() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let page = "<html>\u{1b}[2J</html>";
            let answer = format!(
                "HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
                page.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

/// The access token is replaced by itself; processes beside each other do not lose each other's; signing out ends the session.
#[tokio::test]
async fn a_session_is_renewed_and_ended() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let cli = Cli::admin(world).await;
            let saved = || -> Value {
                serde_json::from_slice(&fs::read(cli.credentials()).expect("saved")).expect("JSON")
            };
            let server = saved()["current"].as_str().expect("a server").to_owned();
            let token = |saved: &Value, kind: &str| {
                saved["servers"][&server][kind].as_str().expect("a token").to_owned()
            };
            for round in 0..2 {
                // As it is after half an hour.
                let before = saved();
                let mut expired = before.clone();
                expired["servers"][&server]["access_token"] = json!("expired");
                fs::write(cli.credentials(), expired.to_string()).expect("written");
                let commands = (0..6).map(|_| cli.run(&["whoami"]));
                for said in futures::future::join_all(commands).await {
                    assert_eq!(said.code, 0, "round {round}: {said:?}");
                }
                let after = saved();
                assert_ne!(token(&after, "access_token"), "expired");
                assert_ne!(token(&after, "refresh_token"), token(&before, "refresh_token"), "it holds once");
            }
            let mode = fs::metadata(cli.credentials()).expect("saved").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);

            // A token of the environment goes before, and is not replaced.
            let last = saved();
            let variables: Vec<_> = cli
                .variables()
                .iter()
                .cloned()
                .chain([("BIFROST_TOKEN".to_owned(), "nonsense".to_owned())])
                .collect();
            let output = command(env!("CARGO_BIN_EXE_bifrost"), &["whoami"], &variables)
                .output()
                .await
                .expect("it runs");
            assert_eq!(output.status.code(), Some(4));
            assert!(String::from_utf8_lossy(&output.stderr).contains("does not accept BIFROST_TOKEN"));
            assert_eq!(saved(), last);

            cli.run(&["logout"]).await.is(0, "signed out of ");
            assert_eq!(saved(), json!({"current": null, "servers": {}}));
            world.nobody().with_token(&token(&last, "access_token")).get("/auth/me").await.of(401);
            cli.run(&["whoami"]).await.is(4, "bifrost login");
            cli.run(&["logout"]).await.is(0, "nobody is signed in");

            // The address stands alone, or behind --url as everywhere; either goes before the environment.
            let elsewhere = Cli::new("http://127.0.0.1:1");
            for address in [&[server.as_str()][..], &["--url", &server]] {
                let login = [&["login", "--email", "admin@localhost", "--password-stdin"], address].concat();
                elsewhere.feed(&login, "admin\n").await.is(0, &format!("signed in to {server}"));
                let logout = [&["logout"], address].concat();
                elsewhere.run(&logout).await.is(0, &format!("signed out of {server}"));
            }
            for command in ["login", "logout"] {
                let two = ["--url", "http://localhost:2", "http://localhost:3"];
                elsewhere.run(&[&[command], &two[..]].concat()).await.is(2, "say one address");
            }
            // A session that ended elsewhere.
            fs::write(cli.credentials(), last.to_string()).expect("written");
            cli.run(&["whoami"]).await.is(4, "the session of admin@localhost");
        })
        .await;
}

#[tokio::test]
async fn values_arrive_as_they_are_and_steer_no_terminal() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let cli = Cli::admin(world).await;
            with_more_workflows(world, &cli).await;

            let input = cli.home().join("data.json");
            fs::write(&input, r#"{"deep": [1.10, 9007199254740993, null], "漢": "\u00fc"}"#)
                .expect("written");
            let done = cli
                .run(&[
                    "run",
                    "exact",
                    "numbers=[18446744073709551615, -9223372036854775808, 9007199254740993]",
                    "name=Ünïcödé 漢字 👩‍👧 \"quoted\"",
                    &format!("data=@{}", input.display()),
                ])
                .await;
            assert_eq!(done.code, 0, "{done:?}");
            for exact in [
                "18446744073709551615",
                "-9223372036854775808",
                "9007199254740993",
                "Ünïcödé 漢字 👩‍👧 \\\"quoted\\\"",
                "\"漢\": \"ü\"",
            ] {
                assert!(done.out.contains(exact), "{exact}: {}", done.out);
            }
            let fed = cli
                .feed(
                    &["run", "exact", "--input", "-", "name=over"],
                    r#"{"numbers": [], "name": "under", "data": {}}"#,
                )
                .await;
            assert_eq!(fed.json(0)["name"], "over");

            let hostile = cli.run(&["run", "hostile", "--follow"]).await;
            assert_eq!(hostile.code, 0, "{hostile:?}");
            let steers = |text: &str| text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}');
            assert!(!steers(&hostile.err) && !steers(&hostile.out), "{hostile:?}");
            assert!(
                hostile.err.contains("\\u{1b}[2J") && hostile.err.contains("\n    2026-01-01"),
                "{hostile:?}"
            );
            assert_eq!(hostile.json(0), json!({"text": "\u{9b}31m"}), "and is still the same JSON");

            let file = cli.home().join("page.html");
            let page = cli.run(&["run", "page", "--output", &file.display().to_string()]).await;
            assert_eq!((page.code, page.out.as_str()), (0, ""), "{page:?}");
            assert_eq!(fs::read_to_string(&file).expect("written"), "<h1>Ünser Kunde</h1>\n");
            assert_eq!(cli.run(&["run", "page", "customer=x"]).await.out, "<h1>x</h1>\n");
            let nowhere = cli.home().join("no/such/folder");
            cli.run(&["run", "page", "--output", &nowhere.display().to_string()])
                .await
                .is(1, "cannot be written");

            let partly = cli.run(&["run", "partly"]).await;
            partly.is(7, "CompletedWithErrors");
            assert_eq!(partly.json(7), json!({"success": false, "left": 2}));
            cli.run(&["run", "steps", "--follow"]).await.is(0, "step 2");

            // A reader that goes away is no reason to complain.
            let flood = cli.run(&["run", "flood", "lines=5000"]).await.out.trim().to_owned();
            world.admin().await.ended(&flood).await;
            let mut command = command(env!("CARGO_BIN_EXE_bifrost"), &["logs", &flood], cli.variables());
            let mut child = command.spawn().expect("it starts");
            let mut out = child.stdout.take().expect("piped");
            out.read_exact(&mut [0; 100]).await.expect("a line");
            drop(out);
            let output = child.wait_with_output().await.expect("it ends");
            assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
        })
        .await;
}

/// Ctrl-C leaves the run alone and says how to go on.
#[tokio::test]
async fn ctrl_c_lets_the_run_go_on() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let cli = Cli::admin(world).await;
            let mut running = cli.start(&["run", "count", "lines=40", "pause=0.1", "--follow"]);
            running.says("line 3").await;
            running.signal(Signal::SIGINT);
            assert_eq!(running.ended().await.code(), Some(130));
            let hint = running.says("--follow    to follow it again").await;
            let id = words(&hint)[2].to_owned();
            let mut again = cli.start(&["logs", &id, "--follow"]);
            again.says("line 40").await;
            assert_eq!(again.ended().await.code(), Some(0));
            assert_eq!(world.admin().await.execution(&id).await["status"], "Success");
        })
        .await;
}

/// A person who is signed in elsewhere says yes, or no.
#[tokio::test]
async fn a_browser_elsewhere_signs_in() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let url = format!("http://{}", world.address());
            let admin = world.admin().await;
            for approve in [true, false] {
                let cli = Cli::new(&url);
                let mut running = cli.start(&["login", "--device"]);
                running.says("/auth/device?user_code=").await;
                let code = running.says("code   ").await;
                let code = code.trim().rsplit(' ').next().expect("a code").to_owned();
                let decided = json!({"user_code": code, "approve": approve});
                admin.post("/auth/device/authorize", decided).await.of(200);
                if approve {
                    running.says("signed in to http://127.0.0.1:").await;
                    assert_eq!(running.ended().await.code(), Some(0));
                    let me = cli.run(&["whoami"]).await;
                    assert!(me.out.starts_with("admin@localhost"), "{me:?}");
                    let saved: Value =
                        serde_json::from_slice(&fs::read(cli.credentials()).expect("saved")).expect("JSON");
                    assert_eq!(saved["servers"][&url]["email"], "admin@localhost");
                    cli.run(&["logout"]).await.is(0, "signed out");
                } else {
                    running.says("the sign-in was denied").await;
                    assert_eq!(running.ended().await.code(), Some(4));
                    assert!(!cli.credentials().exists(), "nothing is kept");
                }
            }
            let nobody = Cli::new(&url);
            nobody.run(&["login", "--device", "--email", "a@b.example"]).await.is(2, "cannot be used with");
            nobody.run(&["login", "--device", "http://127.0.0.1:1"]).await.is(3, "nothing answers");
        })
        .await;
}

/// At a terminal it asks, hides the password, and colours what it shows.
#[tokio::test]
async fn a_person_at_a_terminal_is_asked() {
    World::new(Mode::Embedded)
        .await
        .run(async |world: &mut World| {
            let cli = Cli::new(&format!("http://{}", world.address()));
            let shown = at_a_terminal(
                &cli,
                &["login"],
                &[("E-mail at http://127.0.0.1:", "admin@localhost\n"), ("Password: ", "admin\n")],
            )
            .await;
            assert!(shown.contains("signed in to"), "{shown}");
            let after = shown.rsplit_once("Password: ").expect("asked").1;
            assert!(!after.lines().next().unwrap_or_default().contains("admin"), "it is hidden: {shown}");
            assert!(cli.credentials().exists());

            let shown = at_a_terminal(&cli, &["workflows"], &[]).await;
            assert!(shown.contains("\u{1b}[1mNAME"), "{shown}");
            let shown = at_a_terminal(&cli, &["run", "count", "lines=3", "pause=0.3", "--follow"], &[]).await;
            assert!(shown.contains("line 3") && shown.contains("Success"), "{shown}");
            let mut plain = Cli::new(&format!("http://{}", world.address()));
            plain.set("NO_COLOR", "1");
            plain.set("XDG_CONFIG_HOME", &cli.home().display().to_string());
            let shown = at_a_terminal(&plain, &["workflows"], &[]).await;
            assert!(shown.contains("NAME") && !shown.contains('\u{1b}'), "{shown}");
        })
        .await;
}

/// Runs a command at a terminal: waits for each question and gives its answer. What was shown.
async fn at_a_terminal(cli: &Cli, arguments: &[&str], answers: &[(&str, &str)]) -> String {
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let side = || Stdio::from(terminal.slave.try_clone().expect("a copy"));
    let mut command = command(env!("CARGO_BIN_EXE_bifrost"), arguments, cli.variables());
    let mut child =
        command.stdin(side()).stdout(side()).stderr(side()).kill_on_drop(true).spawn().expect("it starts");
    drop((command, terminal.slave));
    let mut master = fs::File::from(terminal.master);
    let mut reader = master.try_clone().expect("a copy");
    let shown = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = shown.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut part = [0; 4096];
        // The end of a terminal is an error.
        while let Ok(count @ 1..) = reader.read(&mut part) {
            seen.lock().expect("not poisoned").extend_from_slice(&part[..count]);
        }
    });
    let text = || String::from_utf8_lossy(&shown.lock().expect("not poisoned")).into_owned();
    for (question, answer) in answers {
        until(&format!("`{question}`"), PATIENCE, async || text().contains(question).then_some(())).await;
        master.write_all(answer.as_bytes()).expect("answered");
    }
    let status =
        tokio::time::timeout(PATIENCE, child.wait()).await.unwrap_or_else(|_| panic!("it ends: {}", text()));
    assert_eq!(status.expect("its state").code(), Some(0), "{}", text());
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("all is read").expect("no panic");
    text()
}
