//! Writes the skeleton of a new migration and names it in `lib.rs`.

use crate::error::Error;
use chrono::NaiveDate;
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Longest name of a migration, without date and number.
const MAX_NAME: usize = 48;

/// Where the migrations of a checkout lie, from its root.
const FOLDER: &str = "migration/src";

/// The folder with the migrations: `given`, or the one of the checkout that `from` is in.
///
/// # Errors
/// When there is none.
pub fn folder(given: Option<&Path>, from: &Path) -> Result<PathBuf, Error> {
    let is_one = |folder: &Path| folder.join("lib.rs").is_file();
    if let Some(given) = given {
        return if is_one(given) {
            Ok(given.to_owned())
        } else {
            Err(Error::Refused(format!(
                "{} is not the folder of the migrations: it has no lib.rs",
                given.display()
            )))
        };
    }
    from.ancestors()
        .map(|above| above.join(FOLDER))
        .find(|folder| is_one(folder))
        .ok_or_else(|| Error::Refused(format!("there is no {FOLDER} here or above; name it with --dir")))
}

/// Writes `m<date>_<number>_<name>.rs` into `folder` and its two lines into `lib.rs`, and returns the file.
///
/// The migration is the last one: `today` is replaced by the date of the last one where that is later.
///
/// # Errors
/// When the name is not one or is taken, or the files cannot be read or written.
pub fn generate(folder: &Path, name: &str, today: NaiveDate) -> Result<PathBuf, Error> {
    check(name)?;
    let broken = |what: &Path, error: std::io::Error| Error::Refused(format!("{}: {error}", what.display()));
    let mut taken = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| broken(folder, error))? {
        let file = entry.map_err(|error| broken(folder, error))?.file_name();
        if let Some(parts) = file.to_str().and_then(parts) {
            taken.push((parts.0, parts.1, parts.2.to_owned(), file.to_string_lossy().into_owned()));
        }
    }
    if let Some((_, _, _, file)) = taken.iter().find(|(_, _, other, _)| other == name) {
        return Err(Error::Refused(format!("{file} has this name already; choose another")));
    }
    let last = taken.iter().map(|(date, number, _, _)| (*date, *number)).max();
    let date: u32 = today.format("%Y%m%d").to_string().parse().unwrap_or_default();
    let (date, number) = match last {
        Some((last, number)) if last >= date => (last, number + 1),
        _ => (date, 1),
    };
    let module = format!("m{date:08}_{number:06}_{name}");

    let lib = folder.join("lib.rs");
    let text = fs::read_to_string(&lib).map_err(|error| broken(&lib, error))?;
    let text = listed(&text, &module).ok_or_else(|| {
        Error::Refused(format!("{} has no line of a migration to go on from", lib.display()))
    })?;
    let path = folder.join(format!("{module}.rs"));
    let mut file = fs::File::create_new(&path).map_err(|error| broken(&path, error))?;
    file.write_all(skeleton(name).as_bytes()).map_err(|error| broken(&path, error))?;
    fs::write(&lib, text).map_err(|error| broken(&lib, error))?;
    Ok(path)
}

fn check(name: &str) -> Result<(), Error> {
    let letters =
        name.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_');
    let fits = (1..=MAX_NAME).contains(&name.len())
        && letters
        && name.as_bytes()[0].is_ascii_lowercase()
        && !name.ends_with('_')
        && !name.contains("__");
    if fits {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_NAME).collect();
    Err(Error::Refused(format!(
        "`{}` is not a name: 1 to {MAX_NAME} of a-z 0-9 and single _, beginning with a letter (add_phone_to_users)",
        shown.escape_debug()
    )))
}

/// Date, number and name of a migration's file.
fn parts(file: &str) -> Option<(u32, u32, &str)> {
    let (date, rest) = file.strip_prefix('m')?.strip_suffix(".rs")?.split_once('_')?;
    let (number, name) = rest.split_once('_')?;
    Some((date.parse().ok()?, number.parse().ok()?, name))
}

/// `lib.rs` with the lines of one more migration after those of the last one.
fn listed(text: &str, module: &str) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = |lines: &[String], beginning: &str| {
        lines.iter().rposition(|line| {
            line.trim_start()
                .strip_prefix(beginning)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    let listing = last(&lines, "migration!(m")?;
    let indentation = " ".repeat(lines[listing].len() - lines[listing].trim_start().len());
    lines.insert(listing + 1, format!("{indentation}migration!({module}),"));
    let declaration = last(&lines, "mod m")?;
    lines.insert(declaration + 1, format!("mod {module};"));
    Some(lines.join("\n") + "\n")
}

fn skeleton(name: &str) -> String {
    let subject = name.replace('_', " ");
    let subject = subject[..1].to_uppercase() + &subject[1..];
    format!(
        r#"//! {subject}.

use crate::dialect;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {{
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {{
        dialect::run(manager, UP).await
    }}

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {{
        dialect::run(manager, DOWN).await
    }}
}}

const UP: &str = r"
-- CREATE TABLE examples (
--     id {{uuid}} PRIMARY KEY NOT NULL,
--     name varchar(200) NOT NULL,
--     detail {{json}},
--     created_at {{time}} NOT NULL
-- )
-- ;;
-- CREATE INDEX examples_name ON examples (name)
";

const DOWN: &str = r"
-- DROP TABLE examples
";
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    /// A copy of this package's own folder.
    fn copy() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("the sources") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copied");
            }
        }
        folder
    }

    #[test]
    fn a_skeleton_is_written_and_listed_last() {
        let folder = copy();
        let before = fs::read_to_string(folder.path().join("lib.rs")).expect("read");
        let path = generate(folder.path(), "add_phone_to_users", day("2031-02-03")).expect("written");
        assert_eq!(path.file_name().expect("a name"), "m20310203_000001_add_phone_to_users.rs");
        let text = fs::read_to_string(&path).expect("read");
        assert!(text.starts_with("//! Add phone to users.\n\nuse crate::dialect;\n"), "{text}");
        for part in ["{uuid}", "const UP: &str = r\"\n", "const DOWN: &str = r\"\n", "DeriveMigrationName"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        generate(folder.path(), "more", day("2031-02-03")).expect("written");
        let after = fs::read_to_string(folder.path().join("lib.rs")).expect("read");
        let added: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
        assert_eq!(
            added,
            [
                "mod m20310203_000001_add_phone_to_users;",
                "mod m20310203_000002_more;",
                "        migration!(m20310203_000001_add_phone_to_users),",
                "        migration!(m20310203_000002_more),",
            ]
        );
        let end = after.find("migration!(m20310203_000002_more),").expect("listed");
        assert!(!after[end + 1..].contains("migration!(m"), "the last of all: {after}");
    }

    #[test]
    fn a_new_one_never_comes_before_the_last() {
        let folder = copy();
        generate(folder.path(), "later", day("2031-02-03")).expect("written");
        let path = generate(folder.path(), "now", day("2030-01-01")).expect("written");
        assert_eq!(path.file_name().expect("a name"), "m20310203_000002_now.rs");
    }

    #[test]
    fn bad_and_taken_names_change_nothing() {
        let folder = copy();
        let long = "a".repeat(MAX_NAME + 1);
        for name in ["", "Users", "add phone", "1st", "_x", "x_", "a__b", "ä", "a-b", "../x", "a.rs", &long]
        {
            let said = generate(folder.path(), name, day("2031-02-03")).expect_err(name).to_string();
            assert!(said.contains("is not a name"), "{name}: {said}");
        }
        let said = generate(folder.path(), "identity", day("2031-02-03")).expect_err("taken").to_string();
        assert!(said.contains("m20261120_000001_identity.rs"), "{said}");
        let text = fs::read_to_string(folder.path().join("lib.rs")).expect("read");
        assert!(!text.contains("m2031"), "{text}");
        generate(folder.path(), &"a".repeat(MAX_NAME), day("2031-02-03")).expect("at the bound");
    }

    #[test]
    fn the_folder_is_found_from_within_the_checkout() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(folder(None, &root.join("src/schema")).expect("found"), root.join("src"));
        let elsewhere = tempfile::tempdir().expect("a folder");
        for given in [None, Some(elsewhere.path())] {
            let said = folder(given, elsewhere.path()).expect_err("none").to_string();
            assert!(said.contains("--dir") || said.contains("lib.rs"), "{said}");
        }
    }
}
