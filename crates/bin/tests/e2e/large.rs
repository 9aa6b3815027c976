//! A result of fifty megabytes: kept apart, and read back in any part, with memory that does not grow with it.

use crate::{
    in_both_modes,
    support::{Client, Mode, Reply, World},
};
use futures::future::join_all;
use serde_json::json;
use sqlx::{Connection as _, Row as _};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::sleep;

in_both_modes!(a_result_of_fifty_megabytes);

const SIZE: usize = 50_000_000;
const HEAD: &str = "{\"result\":{\"text\":\"";
const TAIL: &str = "\"},\"result_type\":\"json\"}";

async fn a_result_of_fifty_megabytes(world: &mut World) {
    let admin = world.admin().await;
    let reply = admin.run("large", json!({"size": SIZE})).await;
    assert_eq!((&reply["status"], &reply["result"]), (&json!("Success"), &json!(null)), "{reply}");
    let id = reply["execution_id"].as_str().expect("an id").to_owned();
    let path = format!("/api/executions/{id}/result");
    assert_eq!(reply["result_url"], json!(path), "the reply says where it is");

    // The row is small, and so is whatever shows it.
    let stored = SIZE + "{\"text\":\"\"}".len();
    let shown = admin.get(&format!("/api/executions/{id}")).await;
    assert!(shown.text.len() < 10_000, "{} bytes", shown.text.len());
    let shown = shown.of(200);
    assert_eq!(
        (&shown["result"], &shown["result_bytes"], &shown["result_url"]),
        (&json!(null), &json!(stored), &json!(path))
    );
    let list = admin.get("/api/executions").await;
    assert!(list.text.len() < 10_000 && list.text.contains(&path), "{}", list.text);
    if world.mode == Mode::Stack {
        let mut database = world.database().connect().await;
        let row = sqlx::query("SELECT pg_column_size(e.*) AS bytes FROM executions e WHERE id = $1::uuid")
            .bind(&id);
        let bytes: i32 = row.fetch_one(&mut database).await.expect("the row").get("bytes");
        assert!(bytes < 5_000, "the row has {bytes} bytes");
        database.close().await.expect("closed");
    }

    // Several readers at a time, and less memory than one of them would take with the whole in it.
    let api = world.api.as_ref().expect("it runs").pid();
    let before = memory(api);
    let mut most = before;
    let reading = join_all((0..3).map(|_| read_whole(&admin, &path)));
    tokio::pin!(reading);
    loop {
        tokio::select! {
            _ = &mut reading => break,
            () = sleep(Duration::from_millis(5)) => most = most.max(memory(api)),
        }
    }
    println!("{:?}: {before} kB before, {most} kB at most while three read", world.mode);
    assert!(most < before + 40_000, "{before} kB before, {most} kB while it was read");
    parts(&admin, &path).await;

    // An object that somebody deleted is told as that, and the execution is still there.
    let objects = world.data().join("objects");
    let files = files(&objects);
    assert_eq!(files.len(), 1, "{files:?}");
    fs::remove_file(&files[0]).expect("removed");
    let gone = admin.get(&path).await.of(410);
    assert_eq!(gone["code"], "result_gone", "{gone}");
    assert!(gone["detail"].as_str().is_some_and(|text| text.contains("object store")), "{gone}");
    assert_eq!(admin.get_with(&path, &[("range", "bytes=0-9")]).await.status, 410);
    assert_eq!(admin.execution(&id).await["status"], "Success");
    assert_eq!(admin.run("add", json!({"a": 1})).await["status"], "Success");
}

async fn read_whole(admin: &Client, path: &str) {
    let reply = admin.get(path).await;
    assert_eq!(reply.status, 200);
    let text = reply.text.strip_prefix(HEAD).and_then(|rest| rest.strip_suffix(TAIL)).expect("the envelope");
    assert!(text.len() == SIZE && text.bytes().all(|byte| byte == b'x'), "{} bytes", text.len());
}

async fn parts(admin: &Client, path: &str) {
    let whole = format!("{HEAD}{}{TAIL}", "x".repeat(SIZE));
    let size = whole.len();
    let header = |reply: &Reply, name: &str| {
        reply.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let head = admin.head(path).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(
        (header(&head, "content-length"), header(&head, "accept-ranges")),
        (size.to_string(), "bytes".into())
    );
    let tag = header(&head, "etag");
    assert!(tag.starts_with('"'), "a strong one: {tag}");
    let part = async |range: &str| admin.get_with(path, &[("range", range), ("if-range", &tag)]).await;
    // In the head, over its edge, in the middle, over the edge of the tail, the last byte.
    let edges = [
        0..HEAD.len() / 2,
        HEAD.len() - 2..HEAD.len() + 3,
        SIZE / 3..SIZE / 2,
        size - TAIL.len() - 2..size,
        size - 1..size,
    ];
    for range in edges {
        let last = range.end - 1;
        let reply = part(&format!("bytes={}-{last}", range.start)).await;
        assert_eq!((reply.status, header(&reply, "etag")), (206, tag.clone()), "{range:?}");
        assert_eq!(header(&reply, "content-range"), format!("bytes {}-{last}/{size}", range.start));
        assert!(reply.text == whole[range.clone()], "{range:?} differs");
    }
    let end = part("bytes=-10").await;
    assert_eq!((end.status, end.text.as_str()), (206, &whole[size - 10..]));
    let outside = part(&format!("bytes={size}-")).await;
    assert_eq!((outside.status, header(&outside, "content-range")), (416, format!("bytes */{size}")));
    assert_eq!(outside.json()["code"], "range_not_satisfiable", "{}", outside.text);
    let other = admin.get_with(path, &[("range", "bytes=0-9"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status, other.text.len()), (200, size), "of another version the whole is sent");
    let known = admin.get_with(path, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status, known.text.as_str(), header(&known, "etag")), (304, "", tag.clone()));
    let plain = admin.get_with(path, &[("range", "bytes=0-9"), ("accept-encoding", "gzip")]).await;
    assert_eq!((plain.status, header(&plain, "content-encoding")), (206, String::new()));
}

/// Memory of a process that is in RAM, kilobytes.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.split_whitespace().next().and_then(|kilobytes| kilobytes.parse().ok()).expect("a number")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
