//! Settings: read once from the environment into types that cannot be half-set.
//!
//! [`Settings::from_process`] is called by each `main`, before anything is opened; everything else, tests too, uses
//! [`Settings::from_map`]. All that is wrong is reported at once. The variables stand in [`VARIABLES`].

mod backends;
mod identity;
mod keys;
mod known_passwords;
mod logging;
mod metrics;
mod reader;
mod server;
mod table;
mod unknown;
mod worker;

pub use backends::{BrokerChoice, BusChoice, Database, ObjectsChoice, SslMode};
pub use identity::{DevBypass, DevUser, Identity};
pub use keys::{EncryptionKey, Keys, KeysError, ensure_keys, missing_keys};
pub use logging::{LogFormat, Telemetry};
pub use metrics::Metrics;
pub use server::{AllowedOrigins, Server};
pub use table::{VARIABLES, Variable, render_env_example};
pub use unknown::distance;
pub use worker::{RunLimits, Worker};

use reader::Reader;
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    path::PathBuf,
};

/// Which program reads the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `bifrost dev`: everything in one process; what is not set runs inside it.
    Dev,
    /// `bifrost-api`: needs PostgreSQL, RabbitMQ and Redis.
    Api,
    /// `bifrost-jobs`: the same.
    Jobs,
}

impl Mode {
    /// Whether API and worker are two processes, so that nothing can stay inside one of them.
    #[must_use]
    pub const fn is_stack(self) -> bool {
        !matches!(self, Self::Dev)
    }
}

/// What the installation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A person at work.
    Development,
    /// Tests: no rate limits, any free port.
    Testing,
    /// Customers.
    Production,
}

impl Environment {
    /// The spelling in `ENVIRONMENT` and in `/health`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Testing => "testing",
            Self::Production => "production",
        }
    }
}

/// One thing that is wrong with one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// What is wrong and what would be right; never a secret's value.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.message)
    }
}

/// Everything that is wrong, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Everything that is set at deployment. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which program this is.
    pub mode: Mode,
    /// What the installation is for.
    pub environment: Environment,
    /// Folder for everything kept in files (absolute; may not exist yet).
    pub data_dir: PathBuf,
    /// Folder with the workflows' files (absolute; may not exist yet).
    pub workspace_dir: PathBuf,
    /// The HTTP server.
    pub server: Server,
    /// Records.
    pub database: Database,
    /// The queue.
    pub broker: BrokerChoice,
    /// Live events, cache, rate limits.
    pub bus: BusChoice,
    /// Large values.
    pub objects: ObjectsChoice,
    /// Keys and sign-in.
    pub identity: Identity,
    /// The worker and its runs.
    pub worker: Worker,
    /// Logging.
    pub telemetry: Telemetry,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    /// What is allowed but worth a line in the log at start.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads the settings from `map` (names to values).
    ///
    /// # Errors
    /// Every unknown, impossible or missing value, all at once.
    pub fn from_map(map: &HashMap<String, String>, mode: Mode) -> Result<Self, Problems> {
        parse(map, mode).0
    }

    /// Reads the settings from the process environment.
    ///
    /// # Errors
    /// As [`Settings::from_map`], and when one of our variables is not UTF-8.
    pub fn from_process(mode: Mode) -> Result<Self, Problems> {
        from_environment(|map| Self::from_map(map, mode))
    }
}

/// What is known of an installation by who works on its database alone: the other settings need not be there, nor be right.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// What the installation is for.
    pub environment: Environment,
    /// Folder for everything kept in files (absolute; may not exist yet).
    pub data_dir: PathBuf,
    /// Records.
    pub database: Database,
}

impl DatabaseSettings {
    /// Reads them from `map` (names to values). Without an address the database is the SQLite file of `bifrost dev`.
    ///
    /// # Errors
    /// Every impossible value among them, and every name that looks like a mistyped setting (it may be the address).
    pub fn from_map(map: &HashMap<String, String>) -> Result<Self, Problems> {
        let mut reader = Reader::new(map);
        let environment = environment(&mut reader);
        let data_dir = reader.folder("DATA_DIR");
        let database = backends::database(&mut reader, Mode::Dev, &data_dir);
        let (mut problems, _, _) = reader.finish();
        problems.extend(unknown::find(map));
        if problems.is_empty() {
            Ok(Self { environment, data_dir, database })
        } else {
            Err(Problems(problems))
        }
    }

    /// Reads them from the process environment.
    ///
    /// # Errors
    /// As [`DatabaseSettings::from_map`], and when one of our variables is not UTF-8.
    pub fn from_process() -> Result<Self, Problems> {
        from_environment(Self::from_map)
    }
}

fn from_environment<T>(
    read: impl FnOnce(&HashMap<String, String>) -> Result<T, Problems>,
) -> Result<T, Problems> {
    let mut map = HashMap::new();
    let mut problems = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        match value.to_str() {
            Some(value) => {
                map.insert(name.to_owned(), value.to_owned());
            }
            None if table::find(name).is_some() => {
                problems.push(Problem { variable: name.to_owned(), message: "is not UTF-8".to_owned() });
            }
            None => {}
        }
    }
    match read(&map) {
        Ok(settings) if problems.is_empty() => Ok(settings),
        Ok(_) => Err(Problems(problems)),
        Err(Problems(more)) => {
            problems.extend(more);
            Err(Problems(problems))
        }
    }
}

fn environment(reader: &mut Reader<'_>) -> Environment {
    let all = [Environment::Development, Environment::Testing, Environment::Production];
    reader.choice("ENVIRONMENT", &all.map(|it| (it.as_str(), it)))
}

/// Parses, and tells which variables were looked at.
fn parse(map: &HashMap<String, String>, mode: Mode) -> (Result<Settings, Problems>, BTreeSet<&'static str>) {
    let mut reader = Reader::new(map);
    let explicit = reader.given("ENVIRONMENT").is_some() || mode == Mode::Dev;
    let environment = environment(&mut reader);
    let data_dir = reader.folder("DATA_DIR");
    let workspace_dir = reader.folder("WORKSPACE_DIR");
    let server = server::read(&mut reader, environment);
    let database = backends::database(&mut reader, mode, &data_dir);
    let broker = backends::broker(&mut reader, mode);
    let bus = backends::bus(&mut reader, mode);
    let objects = backends::objects(&mut reader, &data_dir);
    if environment == Environment::Production {
        known_passwords::refuse(&mut reader, &database, &broker, &bus);
    }
    let identity =
        identity::read(&mut reader, &identity::Around { environment, explicit, host: server.host });
    let worker = worker::read(&mut reader);
    let telemetry = logging::read(&mut reader);
    let metrics = metrics::read(&mut reader, environment);
    let (mut problems, warnings, consumed) = reader.finish();
    problems.extend(unknown::find(map));
    if !problems.is_empty() {
        return (Err(Problems(problems)), consumed);
    }
    let settings = Settings {
        mode,
        environment,
        data_dir,
        workspace_dir,
        server,
        database,
        broker,
        bus,
        objects,
        identity,
        worker,
        telemetry,
        metrics,
        warnings,
    };
    (Ok(settings), consumed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_of_the_table_is_read_and_no_other() {
        let table: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
        for mode in [Mode::Dev, Mode::Api, Mode::Jobs] {
            let (_, consumed) = parse(&HashMap::new(), mode);
            assert_eq!(consumed, table, "{mode:?}");
        }
    }

    #[test]
    fn every_default_of_the_table_is_a_value_that_parses_to_itself() {
        let unset = Settings::from_map(&HashMap::new(), Mode::Dev).expect("defaults");
        let defaults: HashMap<String, String> = VARIABLES
            .iter()
            .filter_map(|variable| Some((variable.name.to_owned(), variable.default?.to_owned())))
            .collect();
        let set = Settings::from_map(&defaults, Mode::Dev).expect("the defaults, spelled out");
        assert_eq!(format!("{unset:?}"), format!("{set:?}"));
    }
}
