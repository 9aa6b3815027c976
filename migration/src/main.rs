//! `cargo run -p migration -- …`: the migrations of a checkout on the database that `DATABASE_URL` names.
//!
//! `bifrost migrate` does the same with all settings of an installation.

use anyhow::{Result, anyhow, bail};
use clap::Parser;
use migration::{
    cli::{self, Command, Context, OnDatabase, Outcome},
    place::Place,
};
use std::{
    fs::{File, TryLockError},
    io::Write,
    process::ExitCode,
};

/// Exit code for settings that cannot be used (`EX_CONFIG` of sysexits.h).
const EX_CONFIG: u8 = 78;

/// Brings a database to the schema of this checkout, and writes new migrations.
#[derive(Debug, Parser)]
#[command(name = "migration", version)]
struct Arguments {
    /// postgres://user:password@host:5432/name or sqlite:PATH
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// development, testing or production
    #[arg(long, global = true, env = "ENVIRONMENT", default_value = "development")]
    environment: String,
    #[command(subcommand)]
    command: Command,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Command::Generate(new) => {
            #[expect(clippy::disallowed_methods, reason = "a person at work names a file after today")]
            let today = chrono::Utc::now().date_naive();
            new.run(today).map(|()| Outcome::Good).map_err(Into::into)
        }
        Command::OnDatabase(command) => {
            let given = arguments
                .database_url
                .as_deref()
                .ok_or_else(|| "is missing: postgres://… or sqlite:PATH".to_owned());
            let place = match given.and_then(Place::from_url) {
                Ok(place) => place,
                Err(message) => {
                    complain(&format!("DATABASE_URL {message}"));
                    return ExitCode::from(EX_CONFIG);
                }
            };
            let production = arguments.environment.trim().eq_ignore_ascii_case("production");
            run(command, Context { place, production }).await
        }
    };
    match outcome {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: &OnDatabase, context: Context) -> Result<Outcome> {
    let _folder = if command.changes() { folder_lock(&context.place)? } else { None };
    Ok(cli::run(command, &context).await?)
}

/// The lock by which a running `bifrost dev` owns the folder of its SQLite file.
fn folder_lock(place: &Place) -> Result<Option<File>> {
    let Place::Sqlite(path) = place else { return Ok(None) };
    let lock = path.with_file_name("lock");
    if !lock.exists() {
        return Ok(None);
    }
    let file = File::options().write(true).open(&lock)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            bail!("{} is in use by a running Bifrost; stop it first", path.display())
        }
        Err(TryLockError::Error(error)) => Err(anyhow!("{} cannot be locked: {error}", lock.display())),
    }
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "migration: {text}");
}
