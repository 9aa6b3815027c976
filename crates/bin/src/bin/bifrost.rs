//! `bifrost`: everything in one process, and what one does beside it.

use bifrost_bin::commands::migrate;
use bifrost_boot::settings::Mode;
use clap::{Parser, Subcommand};
use std::{io::Write, process::ExitCode};

/// Runs Python workflows for many organizations.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// API and worker in one process; SQLite and everything else in process unless the environment names a server
    Dev,
    /// Apply, take back, compare and write migrations of the schema
    Migrate(migrate::Arguments),
    /// Print the OpenAPI document
    Openapi,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Dev => bifrost_bin::run::main(Mode::Dev),
        Command::Migrate(arguments) => migrate::main(&arguments),
        Command::Openapi => {
            let document = bifrost_api::openapi().to_pretty_json().unwrap_or_default();
            match writeln!(std::io::stdout().lock(), "{document}") {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
    }
}
