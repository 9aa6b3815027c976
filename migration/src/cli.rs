//! The commands, the same in `bifrost migrate` and `cargo run -p migration`.

use crate::{
    error::Error,
    generate,
    place::{Access, Place},
    report,
    runner::{Runner, Step},
    schema::Schema,
    state::{Standing, State},
};
use chrono::NaiveDate;
use clap::{Args, Subcommand};
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection};
use std::{
    io::{BufRead, IsTerminal, Read, Write},
    path::PathBuf,
    time::Instant,
};

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What needs a database.
    #[command(flatten)]
    OnDatabase(OnDatabase),
    /// Write the skeleton of a new migration (in a checkout)
    Generate(Generate),
}

/// What is done to a database, or asked of it.
#[derive(Debug, Subcommand)]
pub enum OnDatabase {
    /// Apply what is pending, the oldest first
    Up {
        /// At most so many
        #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        steps: Option<u16>,
    },
    /// Take back the last migrations; the data of their tables is lost
    Down {
        /// So many
        #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        steps: u16,
        /// Whether it was agreed to.
        #[command(flatten)]
        consent: Consent,
    },
    /// Show which migrations are applied and which are pending
    Status {
        /// Fail (exit code 1) when something is pending or unknown to this program
        #[arg(long)]
        check: bool,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what was applied when, in that order
    History {
        /// Also say what each one is about
        #[arg(long, short)]
        verbose: bool,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare the schema with what the migrations make; fail (exit code 1) when it differs
    Check {
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Drop everything and make the schema anew; all data is lost
    Fresh {
        /// Also drop tables, functions and types that no migration of this program makes
        #[arg(long)]
        drop_unknown: bool,
        /// Whether it was agreed to.
        #[command(flatten)]
        consent: Consent,
    },
    /// Record migrations as applied without running them, up to the named one; forget later ones (for repairs by hand)
    Stamp {
        /// The last one that is applied: its name, or `head` for the last of all
        #[arg(default_value = "head")]
        name: String,
        /// Whether it was agreed to.
        #[command(flatten)]
        consent: Consent,
    },
}

/// Consent to what cannot be undone.
#[derive(Debug, Clone, Copy, Args)]
pub struct Consent {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Do not ask, even where ENVIRONMENT is production
    #[arg(long)]
    yes_in_production: bool,
}

/// The skeleton of a new migration.
#[derive(Debug, Args)]
pub struct Generate {
    /// What it is about, as add_phone_to_users
    name: String,
    /// The folder with the migrations [default: migration/src of this checkout]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Where a command works.
#[derive(Debug, Clone)]
pub struct Context {
    /// The database.
    pub place: Place,
    /// Whether customers depend on it.
    pub production: bool,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done; nothing to complain of.
    Good,
    /// A question was answered with no: `--check` and `check` ask such.
    Bad,
}

impl OnDatabase {
    /// Whether it changes the database.
    #[must_use]
    pub const fn changes(&self) -> bool {
        !matches!(self, Self::Status { .. } | Self::History { .. } | Self::Check { .. })
    }

    /// Whether the whole schema may be there afterwards that was not before.
    #[must_use]
    pub const fn applies(&self) -> bool {
        matches!(self, Self::Up { .. } | Self::Fresh { .. })
    }
}

impl Generate {
    /// Writes it.
    ///
    /// # Errors
    /// See [`generate::generate`].
    pub fn run(&self, today: NaiveDate) -> Result<(), Error> {
        let here = std::env::current_dir()
            .map_err(|error| Error::Refused(format!("the current folder cannot be read: {error}")))?;
        let folder = generate::folder(self.dir.as_deref(), &here)?;
        let path = generate::generate(&folder, &self.name, today)?;
        say(&format!("wrote {}", path.display()));
        say(&format!("added it to {}", folder.join("lib.rs").display()));
        say(
            "next: fill in UP and DOWN, then write down the schema it makes: UPDATE_SCHEMA=1 cargo test -p bifrost-storage --test suite written_down",
        );
        Ok(())
    }
}

/// Runs a command and prints what it does.
///
/// # Errors
/// In one line, with what to do.
pub async fn run(command: &OnDatabase, context: &Context) -> Result<Outcome, Error> {
    let access = if command.changes() { Access::Change } else { Access::Look };
    // Asked first: opening would make a file that is missing.
    let missing = context.place.is_missing();
    let connection = context.place.open(access).await?;
    let runner = Runner::new(&connection);
    let outcome = match command {
        OnDatabase::Up { steps } => up(&runner, *steps, context).await,
        OnDatabase::Down { steps, consent } => down(&runner, usize::from(*steps), *consent, context).await,
        OnDatabase::Status { check, json } => {
            let state = runner.state().await?;
            let place =
                if missing { format!("{} (not made yet)", context.place) } else { context.place.to_string() };
            say(&if *json { report::status_json(&place, &state) } else { report::status(&place, &state) });
            let settled = state.count(Standing::Pending) + state.count(Standing::Unknown) == 0;
            Ok(if *check && !settled { Outcome::Bad } else { Outcome::Good })
        }
        OnDatabase::History { verbose, json } => {
            let state = runner.state().await?;
            say(&if *json { report::history_json(&state) } else { report::history(&state, *verbose) });
            Ok(Outcome::Good)
        }
        OnDatabase::Check { json } => check(&runner, &connection, *json).await,
        OnDatabase::Fresh { drop_unknown, consent } => fresh(&runner, *drop_unknown, *consent, context).await,
        OnDatabase::Stamp { name, consent } => stamp(&runner, name, *consent, context).await,
    };
    // What is still open would be closed by the end of the process; a SQLite file is left without its journal.
    let _ = connection.close().await;
    outcome
}

async fn up(runner: &Runner<'_>, steps: Option<u16>, context: &Context) -> Result<Outcome, Error> {
    say(&context.place.to_string());
    let begun = Instant::now();
    let applied = runner.up(steps.map(usize::from), &mut tell).await?;
    if applied == 0 {
        say("nothing is pending");
    } else {
        say(&format!(
            "{} applied in {}",
            report::counted(applied, "migration"),
            report::time(begun.elapsed())
        ));
    }
    Ok(Outcome::Good)
}

async fn down(
    runner: &Runner<'_>,
    steps: usize,
    consent: Consent,
    context: &Context,
) -> Result<Outcome, Error> {
    say(&context.place.to_string());
    let state = runner.state().await?;
    state.refuse_newer()?;
    let names: Vec<&str> =
        state.with(Standing::Applied).rev().take(steps).map(|entry| entry.name.as_str()).collect();
    if names.is_empty() {
        say("nothing is applied");
        return Ok(Outcome::Good);
    }
    ask(&format!("this takes back {} with the data of their tables", names.join(", ")), consent, context)?;
    let begun = Instant::now();
    let taken_back = runner.down(steps, &mut tell).await?;
    say(&format!(
        "{} taken back in {}",
        report::counted(taken_back, "migration"),
        report::time(begun.elapsed())
    ));
    Ok(Outcome::Good)
}

async fn fresh(
    runner: &Runner<'_>,
    everything: bool,
    consent: Consent,
    context: &Context,
) -> Result<Outcome, Error> {
    say(&context.place.to_string());
    ask("this drops all tables with all their data", consent, context)?;
    let begun = Instant::now();
    runner.fresh(everything, &mut tell).await?;
    say(&format!("made anew in {}", report::time(begun.elapsed())));
    Ok(Outcome::Good)
}

async fn stamp(
    runner: &Runner<'_>,
    name: &str,
    consent: Consent,
    context: &Context,
) -> Result<Outcome, Error> {
    say(&context.place.to_string());
    let names = runner.names();
    let name = match name {
        "head" => names.last().map(String::as_str).unwrap_or_default(),
        name => name,
    };
    ask(
        &format!("this changes the record so that {name} is the last applied one, and runs nothing"),
        consent,
        context,
    )?;
    let mut changed = false;
    runner
        .stamp(name, &mut |step| {
            changed |= step != Step::Waiting;
            tell(step);
        })
        .await?;
    say(if changed { "compare the schema with `check`" } else { "the record said so already" });
    Ok(Outcome::Good)
}

async fn check(runner: &Runner<'_>, connection: &DatabaseConnection, json: bool) -> Result<Outcome, Error> {
    let state: State = runner.state().await?;
    state.refuse_newer()?;
    let pending = state.count(Standing::Pending);
    if pending > 0 {
        let pending = report::counted(pending, "migration");
        return Err(Error::Refused(format!(
            "{pending} pending; the schema can be compared when all are applied (`up`)"
        )));
    }
    let found = Schema::of(connection).await?;
    let differences = Schema::expected(connection.get_database_backend()).differences(&found);
    say(&if json { report::check_json(&differences) } else { report::check(&differences) });
    Ok(if differences.is_empty() { Outcome::Good } else { Outcome::Bad })
}

/// Asks for consent, or finds it given.
fn ask(what: &str, consent: Consent, context: &Context) -> Result<(), Error> {
    if consent.yes_in_production || (consent.yes && !context.production) {
        return Ok(());
    }
    if context.production {
        return Err(Error::Refused(format!(
            "{what}, and ENVIRONMENT is production; say --yes-in-production if it shall be"
        )));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::Refused(format!("{what}; say --yes if it shall be")));
    }
    let _ = write!(std::io::stderr().lock(), "{what}; go on? [y/N] ");
    let mut answer = String::new();
    let _ = std::io::stdin().lock().take(64).read_line(&mut answer);
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Error::Refused("nothing was changed".to_owned()))
}

fn tell(step: Step<'_>) {
    say(&report::step(step));
}

/// A line for the reader; one who has gone is not missed.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
