//! `.env.example` is the rendering of the table of variables, to the letter.

use bifrost_boot::settings::{VARIABLES, render_env_example};
use std::{collections::BTreeSet, path::Path};

#[test]
fn env_example_is_the_rendering_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.env.example");
    let rendered = render_env_example();
    if std::env::vars().any(|(name, value)| name == "UPDATE_ENV_EXAMPLE" && value == "1") {
        std::fs::write(&path, &rendered).expect("write .env.example");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == rendered,
        ".env.example differs from the settings; write it again with\n  \
         UPDATE_ENV_EXAMPLE=1 cargo test -p bifrost-boot --test env_example\n{}",
        difference(&stored, &rendered)
    );
}

#[test]
fn a_copy_of_env_example_sets_nothing() {
    let rendered = render_env_example();
    let set: Vec<&str> = rendered.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(set, Vec::<&str>::new());
}

#[test]
fn every_variable_has_exactly_one_line() {
    let rendered = render_env_example();
    for variable in VARIABLES {
        let start = format!("#{}=", variable.name);
        assert_eq!(rendered.lines().filter(|line| line.starts_with(&start)).count(), 1, "{}", variable.name);
    }
}

/// The lines that only one of the two has.
fn difference(stored: &str, rendered: &str) -> String {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (stored.lines().collect(), rendered.lines().collect());
    let removed = stored.lines().filter(|line| !new.contains(line)).map(|line| format!("- {line}\n"));
    let added = rendered.lines().filter(|line| !old.contains(line)).map(|line| format!("+ {line}\n"));
    removed.chain(added).collect()
}
