//! `bifrost migrate …`: the schema of the database that the settings name.

use crate::run::{EX_CONFIG, complain};
use bifrost_boot::{
    migrate::{self, Command, Outcome},
    settings::DatabaseSettings,
};
use clap::Args;
use std::process::ExitCode;

/// What follows `bifrost migrate`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Runs the command. Exit codes: 0 good, 1 failed (or `--check` and `check` found something), 78 for settings that cannot be used.
#[must_use]
pub fn main(arguments: &Arguments) -> ExitCode {
    let outcome = match &arguments.command {
        Command::Generate(new) => migrate::generate(new),
        Command::OnDatabase(command) => {
            let settings = match DatabaseSettings::from_process() {
                Ok(settings) => settings,
                Err(problems) => {
                    complain(&format!("the settings cannot be used:\n{problems}"));
                    return ExitCode::from(EX_CONFIG);
                }
            };
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(migrate::command(command, &settings)),
                Err(error) => Err(error.into()),
            }
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
