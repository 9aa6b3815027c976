//! Every transaction of a command writes a line of the audit log: looked for in the sources, as a forgotten line fails nothing else.

use std::{collections::BTreeSet, fs, path::Path};

/// Functions whose transaction needs no line, and why.
const EXCEPT: &[(&str, &str, &str)] = &[
    (
        "auth/bootstrap.rs",
        "ensure_system_user",
        "nobody did it: the program makes its own user at the first start",
    ),
    ("auth/login.rs", "renew_hash", "the same password under newer parameters"),
    ("auth/login.rs", "begin_session", "`open_session` writes the line"),
    ("auth/device.rs", "poll_device", "a question; the session that begins writes the line"),
    ("auth/mfa/manage.rs", "proved", "hands the transaction to those who write the line"),
    ("auth/mfa/manage.rs", "proved_by_code", "as `proved`"),
    ("identity_providers/people.rs", "user_of", "`welcome`, `link` and `apply_groups` write the lines"),
    ("identity_providers/sign_in.rs", "link_to", "`link` writes the line"),
];

/// The name and the text of each function of a source, without its tests.
fn functions(source: &str) -> Vec<(&str, &str)> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut starts: Vec<usize> = source.match_indices("fn ").map(|(at, _)| at + 3).collect();
    starts.push(source.len());
    let of = |pair: &[usize]| {
        let text = source.get(pair[0]..pair[1])?;
        let name = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
        Some((name, text))
    };
    starts.windows(2).filter_map(of).collect()
}

#[test]
fn every_transaction_of_a_command_is_audited() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found, mut missing) = (vec![root.clone()], 0, BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).expect("a file");
            let file = path.strip_prefix(&root).expect("inside").display().to_string();
            for (name, text) in functions(&source).into_iter().filter(|(_, text)| text.contains(".begin()")) {
                found += 1;
                if !text.contains("audit") {
                    missing.insert((file.clone(), name.to_owned()));
                }
            }
        }
    }
    assert!(found >= 10, "{found} transactions: is this how they begin?");
    let known = EXCEPT.iter().map(|(file, name, _)| ((*file).to_owned(), (*name).to_owned())).collect();
    assert_eq!(
        missing, known,
        "write a line in the transaction (`audit.rs` says how), or say here why it needs none"
    );
}
