//! The schema: what the migrations make, and what becomes of it and of the data when they are run, taken back and repaired.

mod compared;
mod rows;
mod run;
mod steps;

use crate::support::Bed;
use bifrost_migration::{
    DbErr, MigrationName, MigrationTrait, Runner, Schema, SchemaManager, Step,
    sea_orm::{ConnectionTrait, DatabaseConnection},
};

/// A migration made of two texts.
struct Text {
    name: &'static str,
    up: String,
    down: String,
}

impl MigrationName for Text {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Text {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(&self.up).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(&self.down).await.map(drop)
    }
}

/// Migrations of these names, ways up and ways down.
fn texts(all: &[(&'static str, &str, &str)]) -> Vec<Box<dyn MigrationTrait>> {
    let text = |&(name, up, down): &(&'static str, &str, &str)| -> Box<dyn MigrationTrait> {
        Box::new(Text { name, up: up.to_owned(), down: down.to_owned() })
    };
    all.iter().map(text).collect()
}

async fn described(connection: &DatabaseConnection) -> Schema {
    Schema::of(connection).await.expect("described")
}

/// Notes what the runner tells: `+` for what was applied, `-` for what was taken back.
fn note(steps: &mut Vec<String>) -> impl FnMut(Step<'_>) + Send {
    |step| {
        steps.push(match step {
            Step::Waiting => "waiting".to_owned(),
            Step::Applied { name, late: false, .. } => format!("+{name}"),
            Step::Applied { name, late: true, .. } => format!("+late {name}"),
            Step::TakenBack { name, .. } => format!("-{name}"),
            Step::Recorded(name) => format!("recorded {name}"),
            Step::Forgotten(name) => format!("forgotten {name}"),
            Step::Dropped { kind, count } => format!("dropped {count} {kind}"),
        });
    }
}

/// Everything that is in the file, or in the schema `public`, whoever made it, but for the record of migrations.
async fn left(bed: &Bed) -> Vec<String> {
    const SQLITE: &str = "SELECT type || ' ' || name AS line FROM sqlite_master WHERE tbl_name <> 'schema_migrations' ORDER BY 1";
    const POSTGRES: &str = "SELECT relkind::text || ' ' || relname AS line FROM pg_class \
        WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'schema_migrations%' \
        UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace \
        UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace \
            AND typname NOT LIKE '%schema_migrations' \
        ORDER BY 1";
    let rows = bed.query(if bed.db.db().is_postgres() { POSTGRES } else { SQLITE }).await;
    rows.iter().map(|row| row.try_get("", "line").expect("a line")).collect()
}

/// A runner of the program's own migrations.
fn runner(bed: &Bed) -> Runner<'_> {
    Runner::new(bed.db.db().migration_connection())
}
