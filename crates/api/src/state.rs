//! What every handler may reach.

use crate::{
    health::Probes,
    live::Places,
    metrics::Limit,
    rate_limit::{MINUTE, RateLimit},
};
use bifrost_app::{
    App,
    accounts::Accounts,
    auth::{Auth, Environment, mfa::Mfa},
    branding::PlatformBranding,
    identity_providers::IdentityProviders,
    machines::Machines,
    members::Members,
    organizations::Organizations,
    roles::Roles,
    users::Users,
};
use bifrost_domain::{
    clock::{SharedClock, SharedIds},
    network::Network,
    ports::limits::Limiter,
};
use bifrost_storage::Reader;
use std::{num::NonZeroU32, ops::Deref, sync::Arc, time::Duration};
use url::Url;

/// The time in which an account may fail to sign in as often as [`ApiSettings::account_failures`] says.
pub const ACCOUNT_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Programs that one address may begin to sign in, a minute.
const DEVICE_CODES: u32 = 30;
/// Questions how it stands that one address may ask, a minute: many programs behind one address ask every five seconds.
const DEVICE_POLLS: u32 = 600;
/// Codes that one person may try, a minute: 20^8 are many more than can be tried in ten minutes.
const DEVICE_GUESSES: u32 = 10;

/// When a request without a token acts as the development user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevBypass {
    /// Never.
    Off,
    /// When it comes from this machine, for this machine.
    Loopback,
    /// From everywhere: for a private machine.
    Always,
}

/// Which browser origins may call besides our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Any, without the browser's cookies: such a caller shows a token or a ticket.
    Any,
    /// These, e.g. `https://console.example`, with cookies.
    List(Vec<String>),
}

/// What the API is told by the settings.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Where the program runs. The bypass also needs it to have been set explicitly; whoever makes these settings sets
    /// [`DevBypass::Off`] when it was not.
    pub environment: Environment,
    /// The program's version.
    pub version: String,
    /// Larger bodies are refused, bytes.
    pub body_limit_bytes: usize,
    /// Browser origins that may call besides our own.
    pub allowed_origins: AllowedOrigins,
    /// When a request without a token acts as the development user.
    pub dev_bypass: DevBypass,
    /// Where people reach this server; cookies are `Secure` when it is https.
    pub public_url: Url,
    /// Sign-ins (and, apart from them, refreshes and registrations) per minute and address; `None`: no limit.
    pub login_rate_per_minute: Option<NonZeroU32>,
    /// Codes of second factors per minute and address; `None`: no limit.
    pub mfa_rate_per_minute: Option<NonZeroU32>,
    /// Failed sign-ins per account and [`ACCOUNT_WINDOW`], whether it exists or not; `None`: no limit.
    pub account_failures: Option<NonZeroU32>,
    /// Proxies whose word about the client's address and the request's id is taken.
    pub trusted_proxies: Vec<Network>,
    /// Whether the listener is bound to a loopback address.
    pub listens_on_loopback: bool,
    /// A request takes at most so long, unless it waits for a run or streams; its body arrives within it in any case.
    pub request_timeout: Duration,
    /// A live client takes a message within so long, or is cut off.
    pub live_send_timeout: Duration,
    /// An export of the audit log has so many lines at most.
    pub audit_export_lines: usize,
    /// A comment is sent so often over Server-Sent Events, so that proxies keep a quiet connection.
    pub live_comment_every: Duration,
}

impl ApiSettings {
    /// The contract's values for a server at `public_url`: 10 MiB bodies, 10 sign-ins and 5 codes a minute and 20 failures an account
    /// (no limit in tests), 30 s a request, 10 s a live message, no bypass, no foreign origins, no proxies.
    #[must_use]
    pub fn new(environment: Environment, public_url: Url) -> Self {
        Self {
            environment,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            body_limit_bytes: 10 * 1024 * 1024,
            allowed_origins: AllowedOrigins::List(Vec::new()),
            dev_bypass: DevBypass::Off,
            public_url,
            login_rate_per_minute: match environment {
                Environment::Testing => None,
                _ => NonZeroU32::new(10),
            },
            mfa_rate_per_minute: match environment {
                Environment::Testing => None,
                _ => NonZeroU32::new(5),
            },
            account_failures: match environment {
                Environment::Testing => None,
                _ => NonZeroU32::new(20),
            },
            trusted_proxies: Vec::new(),
            listens_on_loopback: false,
            request_timeout: Duration::from_secs(30),
            live_send_timeout: Duration::from_secs(10),
            live_comment_every: Duration::from_secs(15),
            audit_export_lines: 100_000,
        }
    }
}

/// The doors that the API is given.
#[derive(Clone)]
pub struct ApiParts {
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
    /// The reading half of the store.
    pub reader: Reader,
    /// Settings.
    pub settings: ApiSettings,
    /// Health of what we stand on.
    pub health: Arc<dyn Probes>,
    /// Counts how often something is tried.
    pub limiter: Arc<dyn Limiter>,
    /// Time.
    pub clock: SharedClock,
    /// Ids.
    pub ids: SharedIds,
}

/// The state of the router: one pointer, because the router clones it for every layer that a request passes.
#[derive(Clone)]
pub struct ApiState(Arc<Reach>);

impl Deref for ApiState {
    type Target = Reach;

    fn deref(&self) -> &Reach {
        &self.0
    }
}

/// What [`ApiState`] points to.
pub struct Reach {
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
    /// The reading half of the store.
    pub reader: Reader,
    /// Settings.
    pub settings: ApiSettings,
    /// Health of what we stand on.
    pub health: Arc<dyn Probes>,
    /// Time.
    pub clock: SharedClock,
    /// Ids.
    pub ids: SharedIds,
    pub(crate) limits: Limits,
    pub(crate) live: Arc<Places>,
}

#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) login: RateLimit,
    /// Failed sign-ins of one account.
    pub(crate) account: RateLimit,
    pub(crate) refresh: RateLimit,
    pub(crate) register: RateLimit,
    pub(crate) mfa: RateLimit,
    /// Requests of API clients that have a limit.
    pub(crate) application: RateLimit,
    /// Programs that ask to be signed in.
    pub(crate) device_code: RateLimit,
    /// Programs that ask how it stands.
    pub(crate) device_poll: RateLimit,
    /// Codes that a person typed.
    pub(crate) device_guess: RateLimit,
}

impl ApiState {
    /// The state over open doors.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let mfa_rate = parts.settings.mfa_rate_per_minute;
        let (rate, failures) = (parts.settings.login_rate_per_minute, parts.settings.account_failures);
        let per_minute = |limit| RateLimit::new(limit, &parts.limiter, rate, MINUTE);
        let fixed = |limit, most| RateLimit::new(limit, &parts.limiter, NonZeroU32::new(most), MINUTE);
        let limits = Limits {
            login: per_minute(Limit::Login),
            account: RateLimit::new(Limit::Account, &parts.limiter, failures, ACCOUNT_WINDOW),
            refresh: per_minute(Limit::Refresh),
            register: per_minute(Limit::Register),
            mfa: RateLimit::new(Limit::Mfa, &parts.limiter, mfa_rate, MINUTE),
            application: RateLimit::new(Limit::Application, &parts.limiter, None, MINUTE),
            device_code: fixed(Limit::DeviceCode, DEVICE_CODES),
            device_poll: fixed(Limit::DevicePoll, DEVICE_POLLS),
            device_guess: fixed(Limit::DeviceGuess, DEVICE_GUESSES),
        };
        Self(Arc::new(Reach {
            app: parts.app,
            auth: parts.auth,
            mfa: parts.mfa,
            accounts: parts.accounts,
            branding: parts.branding,
            organizations: parts.organizations,
            members: parts.members,
            users: parts.users,
            roles: parts.roles,
            providers: parts.providers,
            machines: parts.machines,
            reader: parts.reader,
            settings: parts.settings,
            health: parts.health,
            clock: parts.clock,
            ids: parts.ids,
            limits,
            live: Arc::default(),
        }))
    }
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiState").field("settings", &self.settings).finish_non_exhaustive()
    }
}
