//! Opens everything the settings name and builds the application over it.

use crate::{
    clock, data_folder, migrate,
    settings::{BrokerChoice, BusChoice, Database, Environment, ObjectsChoice, Settings, ensure_keys},
};
use anyhow::{Context, Result, bail};
use bifrost_adapters::{broker, bus, files::Folders, limits, objects, oidc::HttpsWeb};
use bifrost_app::{
    App, Doors, Limits,
    accounts::Accounts,
    auth::{self, Auth, AuthSettings, mfa::Mfa},
    branding::PlatformBranding,
    cipher::Cipher,
    identity_providers::{IdentityProviders, ProviderParts},
    images::Images,
    machines::Machines,
    members::Members,
    organizations::Organizations,
    roles::Roles,
    users::Users,
};
use bifrost_domain::{
    clock::{SharedClock, SharedIds, SteadyIds},
    ids::WorkerId,
    ports::{
        broker::Broker,
        bus::Bus,
        limits::{Limiter, WITHIN},
        objects::Objects,
        python::Inspector,
    },
};
use bifrost_python::{InspectorProcess, PythonAdapter, PythonSettings, settings::Limits as RunLimits};
use bifrost_storage::{Db, Store, Target, examine::examine};
use secrecy::{ExposeSecret, SecretBox};
use std::{sync::Arc, time::Duration};

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// HTTP alone.
    Api,
    /// The worker alone.
    Jobs,
    /// Both.
    Both,
}

/// Everything that was opened.
pub struct Opened {
    /// What one may do.
    pub app: Arc<App>,
    /// Sign-in.
    pub auth: Arc<Auth>,
    /// The second factor.
    pub mfa: Mfa,
    /// The own profile.
    pub accounts: Accounts,
    /// How the platform shows itself.
    pub branding: PlatformBranding,
    /// Organizations.
    pub organizations: Organizations,
    /// Their members.
    pub members: Members,
    /// People.
    pub users: Users,
    /// Roles.
    pub roles: Roles,
    /// External identity providers.
    pub providers: Arc<IdentityProviders>,
    /// Keys and those that show them.
    pub machines: Arc<Machines>,
    /// The records.
    pub store: Store,
    /// The queue.
    pub broker: Arc<dyn Broker>,
    /// Live events.
    pub bus: Arc<dyn Bus>,
    /// Counts how often something is tried.
    pub limiter: Arc<dyn Limiter>,
    /// Large values.
    pub objects: Arc<dyn Objects>,
    /// The Python runtime of a worker.
    pub python: Option<Arc<PythonAdapter>>,
    /// Time.
    pub clock: SharedClock,
    /// Ids.
    pub ids: SharedIds,
    _data: Option<data_folder::Lock>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("app", &self.app).finish_non_exhaustive()
    }
}

impl Opened {
    /// Makes ids for a worker of this process.
    pub fn worker_ids(&self) -> impl Fn() -> WorkerId + Send + Sync + 'static {
        let ids = self.ids.clone();
        move || WorkerId::from_uuid(ids.next())
    }
}

/// A database that is still starting is waited for so long.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);

/// Opens everything for `role`. Only the database has to be there; a broker or bus that is away is degraded and comes back by
/// itself.
///
/// # Errors
/// With one line that says what to do.
pub async fn open(settings: &Settings, role: Role) -> Result<Opened> {
    let time = Arc::new(clock::steady());
    let clock: SharedClock = time.clone();
    let ids: SharedIds = Arc::new(SteadyIds::new(clock.clone()));
    let data = if settings.mode.is_stack() {
        data_folder::make(&settings.data_dir)?;
        None
    } else {
        Some(data_folder::take(&settings.data_dir)?)
    };
    let keys = ensure_keys(settings)?;
    let store = Store::new(open_database(settings).await?);
    clock::begin(&store, &time).await?;
    tokio::spawn(clock::follow(store.clone(), Arc::downgrade(&time)));
    if let Err(error) = migrate::up(&store, &clock).await {
        return Err(without_rights(settings).await.unwrap_or(error));
    }

    let broker: Arc<dyn Broker> = match &settings.broker {
        BrokerChoice::InProcess => Arc::new(broker::InProcess::new()),
        BrokerChoice::RabbitMq { url, prefix } => {
            broker::RabbitMq::connect_lazily(url.expose_secret(), prefix).context("RABBITMQ_URL")?
        }
    };
    let (bus, limiter): (Arc<dyn Bus>, Arc<dyn Limiter>) = match &settings.bus {
        BusChoice::InProcess => (Arc::new(bus::InProcess::new()), Arc::new(limits::InProcess::new())),
        BusChoice::Redis { url, prefix } => {
            let bus = bus::RedisBus::start(url.expose_secret(), prefix).context("REDIS_URL")?;
            let limiter = limits::RedisLimiter::new(Arc::clone(&bus), prefix, WITHIN);
            (bus, Arc::new(limiter))
        }
    };
    let objects: Arc<dyn Objects> = match &settings.objects {
        ObjectsChoice::Folder { path } => {
            let unusable = || format!("the folder {} cannot be used for objects", path.display());
            data_folder::make_private(path).with_context(unusable)?;
            Arc::new(objects::Folder::open(path).with_context(unusable)?)
        }
    };
    let files = settings.data_dir.join("files");
    data_folder::make_private(&files)
        .with_context(|| format!("the folder {} cannot be made", files.display()))?;
    let (python, inspector) = open_python(settings, role, &clock).await?;
    let key = SecretBox::new(Box::new(*keys.encryption.expose()));
    let cipher = Arc::new(Cipher::new(&key));
    let doors = Doors {
        store: store.clone(),
        broker: broker.clone(),
        bus: bus.clone(),
        objects: objects.clone(),
        files: Arc::new(Folders::new(settings.workspace_dir.clone(), files)),
        inspector,
        clock: clock.clone(),
        ids: ids.clone(),
        cipher: cipher.clone(),
    };
    let limits = Limits { sync_wait_max: settings.server.sync_wait_max, ..Limits::default() };
    let app = App::new(doors, limits);

    let environment = auth_environment(settings.environment);
    let mut auth_settings = AuthSettings::new(keys.signing, environment);
    auth_settings.previous_key = keys.previous;
    auth_settings.registration_enabled = settings.identity.registration_enabled;
    auth_settings.mfa_required = settings.identity.mfa_required;
    auth_settings.password_min_length = settings.identity.password_min_length;
    auth_settings.argon2_memory_kib = settings.identity.argon2_memory_kib;
    auth_settings.argon2_passes = settings.identity.argon2_passes;
    auth_settings.dev_user = settings
        .identity
        .dev_user
        .as_ref()
        .map(|user| auth::DevUser { email: user.email.clone(), password: user.password.clone() });
    let auth = Arc::new(Auth::new(store.clone(), clock.clone(), ids.clone(), auth_settings));
    auth.refuse_known_passwords().await?;
    auth.ensure_system_user().await.context("the system user cannot be made")?;
    auth.ensure_dev_user().await.context("the development user cannot be made")?;
    let organizations = Organizations::new(store.clone(), clock.clone(), ids.clone());
    let members = Members::new(store.clone(), clock.clone(), ids.clone());
    let grace = chrono::Duration::days(settings.identity.user_purge_days.into());
    let users = Users::new(store.clone(), auth.clone(), clock.clone(), ids.clone(), grace);
    let roles = Roles::new(store.clone(), clock.clone(), ids.clone());
    let providers = Arc::new(IdentityProviders::new(ProviderParts {
        store: store.clone(),
        clock: clock.clone(),
        ids: ids.clone(),
        cipher: cipher.clone(),
        web: Arc::new(HttpsWeb::new().context("TLS to identity providers cannot be set up")?),
        auth: auth.clone(),
        public_url: settings.server.public_url.parse().context("PUBLIC_URL")?,
    }));
    let machines = Arc::new(Machines::new(store.clone(), clock.clone(), ids.clone(), auth.clone()));
    let images = Images::default();
    Ok(Opened {
        app,
        mfa: Mfa::new(auth.clone(), cipher),
        accounts: Accounts::new(store.clone(), clock.clone(), ids.clone(), images.clone()),
        branding: PlatformBranding::new(store.clone(), clock.clone(), ids.clone(), images),
        auth,
        organizations,
        members,
        users,
        roles,
        providers,
        machines,
        store,
        broker,
        bus,
        limiter,
        objects,
        python,
        clock,
        ids,
        _data: data,
    })
}

/// The environment as sign-in knows it.
#[must_use]
pub const fn auth_environment(environment: Environment) -> auth::Environment {
    match environment {
        Environment::Development => auth::Environment::Development,
        Environment::Testing => auth::Environment::Testing,
        Environment::Production => auth::Environment::Production,
    }
}

/// The database as storage knows it.
pub(crate) fn target(database: &Database) -> Target {
    match database {
        Database::Sqlite { path } => Target::Sqlite { path: path.clone() },
        Database::Postgres { url, pool_min, pool_max, .. } => {
            Target::Postgres { url: url.clone(), pool_min: *pool_min, pool_max: *pool_max }
        }
    }
}

async fn open_database(settings: &Settings) -> Result<Db> {
    let target = target(&settings.database);
    let place = settings.database.describe();
    if let Database::Sqlite { path } = &settings.database {
        // Failing here says nothing more than failing to open it below.
        let _ = data_folder::make_private_file(path);
    }
    let started = tokio::time::Instant::now();
    loop {
        match Db::connect(&target).await {
            Ok(db) => return Ok(db),
            Err(error)
                if error.is_away() && settings.mode.is_stack() && started.elapsed() < DATABASE_PATIENCE =>
            {
                tracing::warn!(database = %place, "the database does not answer yet; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => match &settings.database {
                Database::Sqlite { path } => {
                    let hint = format!(
                        "{} cannot be opened for writing; check who owns it and its folder",
                        path.display()
                    );
                    return Err(error).context(hint);
                }
                Database::Postgres { .. } => {
                    // The pool only tells that it waited in vain; a single connection tells why.
                    let error = examine(&target).await.err().unwrap_or(error);
                    bail!(error.explain(&place));
                }
            },
        }
    }
}

/// The plain reason why the schema could not be written, when it is that this user may not.
async fn without_rights(settings: &Settings) -> Option<anyhow::Error> {
    let found = examine(&target(&settings.database)).await.ok().flatten()?;
    let advice = found.may_not_create?;
    Some(anyhow::anyhow!("{}: {advice}", settings.database.describe()))
}

type Python = (Option<Arc<PythonAdapter>>, Option<Arc<dyn Inspector>>);

async fn open_python(settings: &Settings, role: Role, clock: &SharedClock) -> Result<Python> {
    let python = python_settings(settings);
    if role == Role::Api {
        // Source is checked where a Python is; without one those routes say so.
        return Ok((None, Some(Arc::new(InspectorProcess::new(&python)))));
    }
    if let Err(error) = bifrost_python::harden_process() {
        tracing::warn!(error = %error, "this process's memory can be read by other processes of its user");
    }
    let adapter =
        PythonAdapter::start(python, clock.clone()).await.context("the Python runtime cannot start")?;
    let inspector: Arc<dyn Inspector> = adapter.clone();
    Ok((Some(adapter), Some(inspector)))
}

/// The settings as the Python runtime knows them.
pub(crate) fn python_settings(settings: &Settings) -> PythonSettings {
    let worker = &settings.worker;
    let mut python = PythonSettings::new(settings.data_dir.clone());
    python.python = worker.python.clone();
    python.workspace_dir = Some(settings.workspace_dir.clone());
    python.max_concurrency = worker.max_concurrency;
    python.grace = worker.limits.cancel_grace;
    python.line_bytes = worker.limits.log_max_line_bytes;
    python.result_bytes = worker.limits.result_max_bytes;
    python.limits = RunLimits {
        memory_bytes: Some(worker.limits.memory_bytes),
        open_files: Some(worker.limits.open_files),
        processes: Some(worker.limits.processes),
        ..RunLimits::default()
    };
    python.public_url = Some(settings.server.public_url.clone());
    python
}
