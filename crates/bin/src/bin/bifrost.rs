//! `bifrost`: everything in one process, and what one does beside it.

use bifrost_bin::{
    client::Failure,
    commands::{self, account, cancel, carry_out, doctor, executions, logs, migrate, run, workflows},
    terminal,
};
use bifrost_boot::settings::Mode;
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Runs Python workflows for many organizations.
#[derive(Debug, Parser)]
#[command(
    name = "bifrost",
    version,
    about,
    after_help = "\
`bifrost dev` starts everything. Against a running server: login, workflows, run, logs, executions, cancel.
Each command explains itself: bifrost run --help. The page: docs/command-line.md"
)]
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
    /// Look whether this machine and its servers are ready, and say what to do
    Doctor(doctor::Doctor),
    /// Sign in to a server
    Login(account::Login),
    /// Sign out of a server
    Logout(account::Logout),
    /// Show who is signed in
    Whoami(account::Whoami),
    /// List the workflows that can be run
    Workflows(workflows::Workflows),
    /// Run a workflow
    Run(run::Run),
    /// Show the log of an execution
    Logs(logs::Logs),
    /// List executions, or show one with its result
    Executions(executions::Executions),
    /// Ask an execution to end
    Cancel(cancel::Cancel),
    /// Print the OpenAPI document
    Openapi,
    /// Print completions for a shell: eval "$(bifrost completions bash)"
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Dev => bifrost_bin::run::main(Mode::Dev),
        Command::Migrate(arguments) => migrate::main(&arguments),
        Command::Doctor(arguments) => carry_out(doctor::doctor(arguments)),
        Command::Login(arguments) => carry_out(account::login(arguments)),
        Command::Logout(arguments) => carry_out(account::logout(arguments)),
        Command::Whoami(arguments) => carry_out(account::whoami(arguments)),
        Command::Workflows(arguments) => carry_out(workflows::workflows(arguments)),
        Command::Run(arguments) => carry_out(run::run(arguments)),
        Command::Logs(arguments) => carry_out(logs::logs(arguments)),
        Command::Executions(arguments) => carry_out(executions::executions(arguments)),
        Command::Cancel(arguments) => carry_out(cancel::cancel(arguments)),
        Command::Openapi => printed(bifrost_api::openapi().to_pretty_json().map(|document| document + "\n")),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "bifrost", &mut script);
            printed(String::from_utf8(script))
        }
    }
}

/// Prints a text that was made here.
fn printed(text: Result<String, impl std::fmt::Display>) -> ExitCode {
    let written =
        text.map_err(|error| Failure::here(error.to_string())).and_then(|text| terminal::print(&text));
    written.map_or_else(|failure| commands::complain(&failure), |()| ExitCode::SUCCESS)
}
