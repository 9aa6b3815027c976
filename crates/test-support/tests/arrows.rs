//! Who may name whom: the table of docs/architecture.md, "Rooms", held against what cargo says.
//!
//! Only what is built into a program counts (normal and build dependencies); tests may look into every room.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Each room and whom it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("migration", &[]),
    ("storage", &["domain"]),
    ("adapters", &["domain"]),
    ("python", &["domain"]),
    ("app", &["domain", "storage"]),
    ("jobs", &["domain", "app"]),
    ("api", &["domain", "app", "storage"]),
    ("boot", &["domain", "storage", "app", "adapters", "python", "migration"]),
    ("bin", &["boot", "api", "jobs"]),
    // Speaks public HTTP only: it measures what a client sees.
    ("bench", &[]),
];

/// Names every room and is named by none.
const TESTS_ONLY: &str = "test-support";

fn metadata() -> Result<Metadata, cargo_metadata::Error> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let mut command = MetadataCommand::new();
    command.manifest_path(manifest).no_deps();
    command.exec()
}

/// `bifrost-domain` is the room `domain`; the package of the binaries is named `bifrost`.
fn room(package: &str) -> &str {
    match package {
        "bifrost" => "bin",
        other => other.strip_prefix("bifrost-").unwrap_or(other),
    }
}

/// Each room of the workspace with the rooms it is built with.
fn rooms(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let members: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    metadata
        .packages
        .iter()
        .map(|package| {
            let named = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind != DependencyKind::Development)
                .filter(|dependency| members.contains(dependency.name.as_str()))
                .map(|dependency| room(&dependency.name).to_owned());
            (room(package.name.as_str()).to_owned(), named.collect())
        })
        .collect()
}

#[test]
fn every_room_stands_in_the_table_and_every_row_is_a_room() {
    let rooms = rooms(&metadata().unwrap());
    let found: BTreeSet<&str> = rooms.keys().map(String::as_str).collect();
    let table: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).chain([TESTS_ONLY]).collect();
    assert_eq!(found, table);
}

#[test]
fn no_room_names_one_it_may_not() {
    let rooms = rooms(&metadata().unwrap());
    let mut wrong = Vec::new();
    for (name, may) in ARROWS {
        for named in rooms.get(*name).into_iter().flatten().filter(|named| !may.contains(&named.as_str())) {
            wrong.push(format!("{name} names {named}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_circle() {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while done.len() < ARROWS.len() {
        let next = ARROWS
            .iter()
            .find(|(room, may)| !done.contains(room) && may.iter().all(|named| done.contains(named)))
            .unwrap_or_else(|| panic!("a circle among the rooms besides {done:?}"));
        done.insert(next.0);
    }
}
