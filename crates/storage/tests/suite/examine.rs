//! A look from outside: what is there, what is missing, and why one is not let in.

use bifrost_migration::{Migrator, MigratorTrait};
use bifrost_storage::{Db, Error, Target, examine::examine};
use bifrost_test_support::{TestDatabase, on_both_databases};
use secrecy::{ExposeSecret, SecretString};

on_both_databases![a_look_finds_version_and_migrations];

async fn a_look_finds_version_and_migrations(db: TestDatabase) {
    let found = examine(db.target()).await.expect("it answers").expect("it is there");
    assert!(found.version.starts_with(|c: char| c.is_ascii_digit()), "{found:?}");
    assert!(!found.is_too_old && found.may_not_create.is_none(), "{found:?}");
    assert_eq!(found.time.is_some(), db.db().is_postgres());
    assert_eq!(found.migrations.map(|names| names.len()), Some(Migrator::migrations().len()));
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let folder = std::env::temp_dir().join(format!("bifrost-examine-{}", std::process::id()));
    let target = Target::Sqlite { path: folder.join("bifrost.db") };
    assert!(examine(&target).await.expect("nothing is wrong").is_none());
    assert!(!folder.exists());
}

/// The same database under another address.
fn changed(db: &TestDatabase, change: impl Fn(&str) -> String) -> Target {
    let Target::Postgres { url, .. } = db.target() else { panic!("PostgreSQL") };
    let url = SecretString::from(change(url.expose_secret()));
    Target::Postgres { url, pool_min: 0, pool_max: 1 }
}

async fn refused(target: &Target) -> String {
    let error = match examine(target).await {
        Err(error) => error,
        Ok(found) => panic!("{found:?}"),
    };
    let told = error.explain("postgres at host/name");
    assert!(!told.contains('\n'), "{told}");
    // The start fails by the same error.
    let start = Db::connect(target).await.expect_err("refused");
    assert!(matches!(start, Error::Away(_)) || start.explain("postgres at host/name") == told, "{start:?}");
    told
}

#[tokio::test]
async fn who_is_not_let_in_is_told_what_to_do() {
    let case = |db: TestDatabase| async move {
        let no_database =
            changed(&db, |url| format!("{}_not_there", url.split('?').next().unwrap_or_default()));
        assert!(refused(&no_database).await.contains("`CREATE DATABASE`"));
        let nobody = changed(&db, |url| {
            let (_, place) = url.split_once("://").expect("a URL");
            let place = place.split_once('@').map_or(place, |(_, place)| place);
            format!("postgres://nobody_of_this_name:geheim@{place}")
        });
        let told = refused(&nobody).await;
        assert!(told.contains("DATABASE_URL") && !told.contains("geheim"), "{told}");
        let nowhere = Target::Postgres {
            url: SecretString::from("postgres://x@127.0.0.1:1/x"),
            pool_min: 0,
            pool_max: 1,
        };
        assert!(refused(&nowhere).await.contains("start PostgreSQL"));
    };
    TestDatabase::postgres().await.run(case).await;
}
