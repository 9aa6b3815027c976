//! What every [`Objects`] store does.
#![expect(clippy::expect_used, reason = "a case fails by panicking")]

use super::soon;
use crate::ports::objects::{Error, MAX_KEY, MAX_KEY_SEGMENT, Objects};
use bytes::Bytes;
use futures::StreamExt;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Makes one test of each case. The argument is an async function that takes a case (`AsyncFnOnce(Arc<dyn Objects>)`),
/// makes an empty store, runs the case and cleans up.
#[macro_export]
macro_rules! objects_contract {
    ($with:path) => {
        $crate::contract_cases!(
            $with,
            objects,
            what_is_put_is_got,
            parts_are_read_in_pieces,
            overwriting_replaces_the_whole,
            readers_see_the_old_value_or_the_new_one,
            a_missing_object_is_not_found,
            deleting_twice_is_no_error,
            bad_keys_are_refused,
            keys_up_to_the_limit,
            many_at_once,
            it_answers_and_leaves_nothing,
        );
    };
}

/// Bodies of 0 bytes to 3 MiB under flat and nested keys with unusual characters.
pub async fn what_is_put_is_got(objects: Arc<dyn Objects>) {
    let keys = [
        "flat",
        "results/2026/11/0192.json",
        "uploads/a b+ü%2F#x.txt",
        "Ünïcode/日本語",
        "dot.ted/..hidden/...x",
    ];
    for key in keys {
        for size in [0, 1, 3 * 1024 * 1024] {
            let data: Bytes = (0..=255_u8).cycle().take(size).collect();
            objects.put(key, data.clone()).await.expect("put");
            assert!(objects.get(key).await.expect("get") == data, "`{key}` with {size} bytes");
        }
    }
}

/// Any part of a value, and the whole, comes in pieces that are small; a part that is not there is an error.
pub async fn parts_are_read_in_pieces(objects: Arc<dyn Objects>) {
    const SIZE: u64 = 3 * 1024 * 1024 + 7;
    let data: Bytes = (0..SIZE).map(|n| (n % 251) as u8).collect();
    objects.put("parts", data.clone()).await.expect("put");
    objects.put("nothing", Bytes::new()).await.expect("put");
    assert_eq!(objects.size("parts").await.expect("there"), SIZE);
    assert_eq!(objects.size("nothing").await.expect("there"), 0);
    for range in [0..SIZE, 0..1, SIZE - 1..SIZE, 1_000_000..2_000_001, 5..5, SIZE..SIZE] {
        let mut pieces = objects.read("parts", range.clone()).await.expect("inside");
        let mut read = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.expect("a piece");
            assert!(piece.len() <= 1024 * 1024, "{} bytes at once", piece.len());
            read.extend_from_slice(&piece);
        }
        let (start, end) = (range.start as usize, range.end as usize);
        assert!(read == data[start..end], "{range:?} differs");
    }
    assert_eq!(objects.read("nothing", 0..0).await.expect("inside").count().await, 0);
    for range in [0..SIZE + 1, SIZE..SIZE + 1, SIZE + 1..SIZE + 1] {
        assert!(matches!(objects.read("parts", range.clone()).await, Err(Error::Failed(_))), "{range:?}");
    }
}

/// A shorter value leaves nothing of the longer one.
pub async fn overwriting_replaces_the_whole(objects: Arc<dyn Objects>) {
    objects.put("value", Bytes::from(vec![b'a'; 100_000])).await.expect("put");
    objects.put("value", Bytes::from_static(b"short")).await.expect("put");
    assert_eq!(objects.get("value").await.expect("get"), "short");
}

/// While one writer overwrites, readers never see a mixture, a part, or nothing.
pub async fn readers_see_the_old_value_or_the_new_one(objects: Arc<dyn Objects>) {
    const SIZE: usize = 256 * 1024;
    let value = |n: u8| Bytes::from(vec![n; SIZE + usize::from(n)]);
    objects.put("hot", value(0)).await.expect("put");
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for _ in 0..4 {
        let (objects, done) = (Arc::clone(&objects), Arc::clone(&done));
        readers.push(tokio::spawn(async move {
            let mut reads = 0_u32;
            while !done.load(Ordering::Relaxed) || reads == 0 {
                let data = objects.get("hot").await.expect("always there");
                let n = data[0];
                assert_eq!(data.len(), SIZE + usize::from(n), "a part of value {n}");
                assert!(data.iter().all(|byte| *byte == n), "a mixture with value {n}");
                reads += 1;
            }
        }));
    }
    for n in 1..=60 {
        objects.put("hot", value(n)).await.expect("put");
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        soon("the reader", reader).await.expect("no panic");
    }
}

/// Never there, and there only as a folder of another object.
pub async fn a_missing_object_is_not_found(objects: Arc<dyn Objects>) {
    assert!(matches!(objects.get("nowhere/at/all").await, Err(Error::NotFound)));
    assert!(matches!(objects.size("nowhere").await, Err(Error::NotFound)));
    for range in [0..0, 0..1] {
        assert!(matches!(objects.read("nowhere", range).await, Err(Error::NotFound)));
    }
    objects.put("folder/file", Bytes::from_static(b"x")).await.expect("put");
    assert!(matches!(objects.get("folder").await, Err(Error::NotFound)));
    assert!(matches!(objects.get("folder/file2").await, Err(Error::NotFound)));
}

/// Delete removes; deleting what is not there succeeds.
pub async fn deleting_twice_is_no_error(objects: Arc<dyn Objects>) {
    objects.put("gone/soon", Bytes::from_static(b"x")).await.expect("put");
    objects.delete("gone/soon").await.expect("deleted");
    assert!(matches!(objects.get("gone/soon").await, Err(Error::NotFound)));
    objects.delete("gone/soon").await.expect("deleted again");
    objects.delete("never").await.expect("deleted what never was");
    objects.put("gone/soon", Bytes::from_static(b"back")).await.expect("put again");
    assert_eq!(objects.get("gone/soon").await.expect("get"), "back");
}

/// No operation takes a key that could leave the store or cannot be told apart from another.
pub async fn bad_keys_are_refused(objects: Arc<dyn Objects>) {
    let bad = [
        "",
        "/",
        "/etc/passwd",
        "a//b",
        "a/",
        "..",
        "../x",
        "a/../b",
        "a/..",
        ".",
        "./a",
        "a/./b",
        "a\\b",
        "..\\x",
        "a\0b",
        "a\nb",
        "a\u{7f}",
        "\u{85}",
        "name#1",
        "folder#22/x",
    ];
    for key in bad {
        assert!(matches!(objects.put(key, Bytes::new()).await, Err(Error::BadKey(_))), "put {key:?}");
        assert!(matches!(objects.get(key).await, Err(Error::BadKey(_))), "get {key:?}");
        assert!(matches!(objects.size(key).await, Err(Error::BadKey(_))), "size {key:?}");
        assert!(matches!(objects.read(key, 0..1).await, Err(Error::BadKey(_))), "read {key:?}");
        assert!(matches!(objects.delete(key).await, Err(Error::BadKey(_))), "delete {key:?}");
    }
}

/// Keys and segments as long as they may be work; one byte more is refused.
pub async fn keys_up_to_the_limit(objects: Arc<dyn Objects>) {
    let mut longest = vec!["k".repeat(MAX_KEY_SEGMENT); 4].join("/");
    longest.push('/');
    longest.push_str(&"k".repeat(MAX_KEY - longest.len()));
    assert_eq!(longest.len(), MAX_KEY);
    objects.put(&longest, Bytes::from_static(b"x")).await.expect("put");
    assert_eq!(objects.get(&longest).await.expect("get"), "x");
    for key in [format!("{longest}k"), "k".repeat(MAX_KEY_SEGMENT + 1)] {
        assert!(matches!(objects.put(&key, Bytes::new()).await, Err(Error::BadKey(_))));
    }
}

/// Writers of different keys in one folder, and of one key, do not disturb each other.
pub async fn many_at_once(objects: Arc<dyn Objects>) {
    let mut tasks = Vec::new();
    for n in 0..64 {
        let objects = Arc::clone(&objects);
        tasks.push(tokio::spawn(async move {
            let key = format!("many/{}", n % 16);
            objects.put(&key, Bytes::from(key.clone())).await.expect("put");
            assert_eq!(objects.get(&key).await.expect("get"), key);
        }));
    }
    for task in tasks {
        soon("the writer", task).await.expect("no panic");
    }
}

/// The probe succeeds, twice at a time.
pub async fn it_answers_and_leaves_nothing(objects: Arc<dyn Objects>) {
    let (one, two) = tokio::join!(objects.probe(), objects.probe());
    one.expect("answers");
    two.expect("answers");
}
