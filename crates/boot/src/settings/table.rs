//! Every variable, once: the table drives defaults, the detection of unknown names and `.env.example`.
//!
//! To add a setting: a row here, a line in the parser of its section, and `.env.example` written again
//! (the test `env_example` prints what differs).

use std::fmt::Write as _;

/// One environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The value it has when unset or empty; `None` when there is none or when it follows from another setting.
    pub default: Option<&'static str>,
    /// Whether its value never appears anywhere. A secret `X` can also be given as `X_FILE`, the path of a file.
    pub secret: bool,
    /// Heading in `.env.example`.
    pub section: &'static str,
    /// What it means, with its unit and bounds.
    pub doc: &'static str,
}

const fn plain(
    section: &'static str,
    name: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Variable {
    Variable { name, default: Some(default), secret: false, section, doc }
}

const fn open(section: &'static str, name: &'static str, doc: &'static str) -> Variable {
    Variable { name, default: None, secret: false, section, doc }
}

const fn secret(section: &'static str, name: &'static str, doc: &'static str) -> Variable {
    Variable { name, default: None, secret: true, section, doc }
}

const SERVER: &str = "Server";
const DATABASE: &str = "Database";
const BROKER: &str = "Queue (RabbitMQ)";
const BUS: &str = "Live events, cache and rate limits (Redis)";
const OBJECTS: &str = "Objects: large results and uploads";
const IDENTITY: &str = "Keys and sign-in";
const WORKER: &str = "Worker and Python";
const TELEMETRY: &str = "Logging and metrics";

/// All variables, by section, in the order of `.env.example`.
pub const VARIABLES: &[Variable] = &[
    plain(
        SERVER,
        "ENVIRONMENT",
        "development",
        "development, testing or production. The development bypass needs it to be set explicitly (`bifrost dev` does).",
    ),
    plain(SERVER, "HOST", "127.0.0.1", "Address to listen on: an IP address or localhost."),
    plain(SERVER, "PORT", "8000", "Port to listen on, 1 to 65535; 0 (any free port) only in testing."),
    plain(SERVER, "DATA_DIR", ".bifrost", "Folder for everything the platform keeps in files."),
    plain(SERVER, "WORKSPACE_DIR", "workspace", "Folder with the workflows' Python files."),
    open(
        SERVER,
        "PUBLIC_URL",
        "Where people reach the API. Default: http://localhost:PORT. With https cookies are Secure.",
    ),
    open(
        SERVER,
        "ALLOWED_ORIGINS",
        "Browser origins besides our own, separated by commas, at most 64; * for any, then without cookies (never in production).",
    ),
    open(
        SERVER,
        "TRUSTED_PROXIES",
        "Addresses and networks of proxies whose X-Forwarded-For or Forwarded, and X-Request-Id, are believed, separated by commas, at most 64, e.g. 10.0.0.5,172.16.0.0/12. Default: nobody's.",
    ),
    plain(SERVER, "BODY_LIMIT_BYTES", "10485760", "Largest request body in bytes, 1024 to 1073741824."),
    plain(SERVER, "SYNC_WAIT_MAX", "300", "Longest wait of a synchronous execution in seconds, 1 to 3600."),
    plain(
        SERVER,
        "KEEP_ALIVE_SECONDS",
        "75",
        "How long a connection may be idle, and the head of a request take, 1 to 3600 seconds: longer than a proxy before it keeps one.",
    ),
    plain(
        SERVER,
        "SHUTDOWN_GRACE_SECONDS",
        "30",
        "How long shutdown waits for running work, 0 to 3600 seconds.",
    ),
    secret(
        DATABASE,
        "DATABASE_URL",
        "postgres://user:password@host:5432/name or sqlite:PATH. Default: SQLite under DATA_DIR (`bifrost dev` only).",
    ),
    open(
        DATABASE,
        "DATABASE_HOST",
        "Instead of DATABASE_URL: host name, address or socket folder of PostgreSQL.",
    ),
    open(DATABASE, "DATABASE_PORT", "With DATABASE_HOST: port, 1 to 65535. Default: 5432."),
    open(DATABASE, "DATABASE_NAME", "With DATABASE_HOST: name of the database. Default: bifrost."),
    open(DATABASE, "DATABASE_USER", "With DATABASE_HOST: user. Default: bifrost."),
    secret(DATABASE, "DATABASE_PASSWORD", "With DATABASE_HOST: password."),
    open(
        DATABASE,
        "DATABASE_SSL_MODE",
        "disable, allow, prefer, require, verify-ca or verify-full. Default: the sslmode of the URL, else prefer.",
    ),
    open(
        DATABASE,
        "DATABASE_SSL_ROOT_CERT",
        "With verify-ca or verify-full: PEM file with the authority that signed the server's certificate. Default: the public ones.",
    ),
    plain(DATABASE, "DATABASE_POOL_MIN_SIZE", "1", "PostgreSQL connections kept open, 0 to 1000."),
    plain(DATABASE, "DATABASE_POOL_MAX_SIZE", "16", "Most PostgreSQL connections of one process, 1 to 1000."),
    secret(
        BROKER,
        "RABBITMQ_URL",
        "amqp://user:password@host:5672/vhost. Default: in process (`bifrost dev` only).",
    ),
    plain(
        BROKER,
        "BROKER_PREFIX",
        "bifrost",
        "First part of queue and exchange names: 1 to 64 of a-z A-Z 0-9 _ . -",
    ),
    secret(BUS, "REDIS_URL", "redis://:password@host:6379/0. Default: in process (`bifrost dev` only)."),
    plain(
        BUS,
        "BUS_PREFIX",
        "bifrost",
        "First part of Redis keys and channels: 1 to 64 of a-z A-Z 0-9 _ . -",
    ),
    secret(
        OBJECTS,
        "OBJECT_STORE_URL",
        "file:///absolute/folder. Default: the folder objects under DATA_DIR.",
    ),
    secret(
        IDENTITY,
        "SECRET_KEY",
        "Signs tokens, 32 to 4096 characters. Outside production made once under DATA_DIR/keys when unset.",
    ),
    secret(IDENTITY, "SECRET_KEY_PREVIOUS", "The SECRET_KEY before the last change: its tokens stay valid."),
    secret(
        IDENTITY,
        "ENCRYPTION_KEY",
        "Wraps the keys of stored secrets: 32 bytes in base64 (openssl rand -base64 32). Made like SECRET_KEY when unset.",
    ),
    plain(
        IDENTITY,
        "DEV_USER_EMAIL",
        "admin@localhost",
        "E-mail of the development user; none exists in production.",
    ),
    Variable {
        name: "DEV_USER_PASSWORD",
        default: Some("admin"),
        secret: true,
        section: IDENTITY,
        doc: "Password of the development user, 1 to 128 characters.",
    },
    plain(
        IDENTITY,
        "DEV_AUTH_BYPASS",
        "auto",
        "Requests without a token act as the development user: auto (development on loopback only), always (private machines only, asked for by address, localhost or the host of PUBLIC_URL), off.",
    ),
    open(
        IDENTITY,
        "REGISTRATION_ENABLED",
        "true or false: whether people may register. Default: true in development, else false. The first user always may.",
    ),
    open(
        IDENTITY,
        "RATE_LIMIT_LOGIN_PER_MINUTE",
        "Sign-in attempts per minute and address, 0 (no limit, never in production) to 100000. Default: 10, and none in testing.",
    ),
    open(
        IDENTITY,
        "RATE_LIMIT_ACCOUNT_FAILURES",
        "Failed sign-ins per account in 15 minutes, 0 (no limit, never in production) to 100000. Default: 20, and none in testing.",
    ),
    plain(
        IDENTITY,
        "USER_PURGE_DAYS",
        "30",
        "Days between the deletion of an account and its removal for good, 0 to 365; until then it can be taken back.",
    ),
    open(
        IDENTITY,
        "RATE_LIMIT_MFA_PER_MINUTE",
        "Codes of second factors per minute and address, 0 (no limit) to 100000. Default: 5, and none in testing.",
    ),
    plain(
        IDENTITY,
        "MFA_REQUIRED",
        "false",
        "true or false: whether everybody needs a second factor, however he signs in. An organization can ask for it in its settings: {\"security\": {\"mfa_required\": true}}.",
    ),
    plain(IDENTITY, "PASSWORD_MIN_LENGTH", "8", "Characters that a password has at least, 8 to 128."),
    plain(
        IDENTITY,
        "ARGON2_MEMORY_KIB",
        "19456",
        "Memory of a password hash (argon2id) in KiB, 8192 to 1048576, for each processor. Hashes of other values are replaced at the next sign-in.",
    ),
    plain(IDENTITY, "ARGON2_PASSES", "2", "Passes of a password hash over its memory, 1 to 16."),
    plain(WORKER, "MAX_CONCURRENCY", "16", "Runs of one worker at the same time, 1 to 1024."),
    plain(
        WORKER,
        "BIFROST_ISOLATION",
        "fork",
        "fork: a process per run; reuse: a process serves many runs of one organization (trusted code).",
    ),
    plain(
        WORKER,
        "BIFROST_PYTHON",
        "python3",
        "The Python interpreter (3.10 or newer): a name on the PATH or a path.",
    ),
    plain(WORKER, "RUN_MEMORY_MB", "512", "Data memory of a run in MiB, 32 to 1048576."),
    plain(WORKER, "RUN_OPEN_FILES", "1024", "Open files of a run, 16 to 1048576."),
    plain(WORKER, "RUN_PROCESSES", "64", "Processes and threads of a run, 1 to 65536."),
    plain(
        WORKER,
        "CANCEL_GRACE_SECONDS",
        "3",
        "Time between asking a run to end and killing it, 1 to 300 seconds.",
    ),
    plain(WORKER, "LOG_MAX_LINES", "100000", "Log lines kept of one run, 1 to 10000000."),
    plain(WORKER, "LOG_MAX_LINE_BYTES", "32768", "Longest log line of a run in bytes, 256 to 524288."),
    plain(WORKER, "RESULT_MAX_BYTES", "62914560", "Largest result of a run in bytes, 1024 to 62914560."),
    plain(
        WORKER,
        "WORKER_LEASE_SECONDS",
        "10",
        "How long a worker is believed alive without a word, 4 to 300 seconds.",
    ),
    plain(TELEMETRY, "LOG_FORMAT", "text", "text or json."),
    plain(TELEMETRY, "LOG_LEVEL", "info", "error, warn, info, debug, trace or off."),
    open(
        TELEMETRY,
        "RUST_LOG",
        "A filter per module that goes before LOG_LEVEL, e.g. info,bifrost_jobs=debug; at most 4096 characters.",
    ),
    open(
        TELEMETRY,
        "METRICS_ADDRESS",
        "ADDRESS:PORT of a listener of its own for /metrics, /health/live and /health/ready, for each process. Default: none; the API then serves /metrics at its port, to this machine (or to whoever shows METRICS_TOKEN).",
    ),
    secret(
        TELEMETRY,
        "METRICS_TOKEN",
        "Whoever reads /metrics shows it as a Bearer token, 16 to 4096 characters. Default: none is asked for.",
    ),
];

/// The row of `name`.
pub(super) fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// The text of `.env.example`: every variable commented out, so that a copy changes nothing.
#[must_use]
pub fn render_env_example() -> String {
    let mut text = String::from(
        "# Settings of Bifrost. Copy to .env and uncomment what you change: dev.sh reads it; docker compose hands on what its file names.\n\
         # Each line shows the default. An empty value counts as unset. A secret X can also be given as X_FILE=/path.\n",
    );
    let mut section = "";
    for variable in VARIABLES {
        if variable.section != section {
            section = variable.section;
            let _ = write!(text, "\n# ---- {section}\n");
        }
        let secret = if variable.secret { " [secret]" } else { "" };
        let _ = write!(text, "\n#{secret} {}\n", variable.doc);
        let _ = writeln!(text, "#{}={}", variable.name, variable.default.unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_sections_stand_together() {
        let names: HashSet<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert_eq!(names.len(), VARIABLES.len());
        let mut seen: Vec<&str> = Vec::new();
        for variable in VARIABLES {
            if seen.last() != Some(&variable.section) {
                assert!(!seen.contains(&variable.section), "{} is in two places", variable.section);
                seen.push(variable.section);
            }
        }
    }

    #[test]
    fn every_row_says_what_it_is() {
        for variable in VARIABLES {
            assert!(variable.doc.len() > 10, "{}", variable.name);
            assert!(!variable.doc.contains('\n'), "{}", variable.name);
        }
    }
}
