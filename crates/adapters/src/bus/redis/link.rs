//! The address, the two connections' state, and what the log says about them.

use crate::{
    lock::lock,
    metrics,
    trouble::{Trouble, one_line},
};
use bifrost_domain::ports::bus::Error;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError,
    aio::{MultiplexedConnection, PubSub},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use std::{sync::Mutex, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

/// How long one attempt to connect, and one answer, may take.
const WITHIN: Duration = Duration::from_secs(5);

/// One of the two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Publishing,
    Subscribing,
}

/// How it stands.
#[derive(Debug, Clone, Default)]
struct State {
    publishing: bool,
    subscribing: bool,
    /// What the log says of the outage so far.
    reported: Option<Option<&'static str>>,
    /// Why it is away.
    trouble: Option<Trouble>,
}

pub(super) struct Link {
    client: Client,
    state: watch::Sender<State>,
    open: Mutex<Option<MultiplexedConnection>>,
    /// The subscribing side lost its connection: the publishing side looks at its own before it sends into the void.
    pub(super) suspicion: Notify,
}

impl Link {
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        // The library's message may quote the URL: only its kind is said.
        let bad = || {
            Error(
                "REDIS_URL is not a Redis URL: expected redis://[user:password@]host:port[/database]"
                    .to_owned(),
            )
        };
        let info = url.into_connection_info().map_err(|_| bad())?;
        // A peer that vanished without a word is noticed by the kernel: nothing here has to send pings.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(5))
            .with_retries(3);
        let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        #[cfg(target_os = "linux")]
        let settings = settings.set_user_timeout(Duration::from_secs(20));
        metrics::bus_connected(false);
        let client = Client::open(info.set_tcp_settings(settings)).map_err(|_| bad())?;
        Ok(Self { client, state: watch::Sender::default(), open: Mutex::default(), suspicion: Notify::new() })
    }

    /// Where it connects to, without user name and password.
    pub(super) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Opens the publishing connection; it has answered once.
    pub(super) async fn publishing(&self) -> Result<MultiplexedConnection, Trouble> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(WITHIN))
            .set_response_timeout(Some(WITHIN));
        let connect = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            redis::cmd("PING").query_async::<()>(&mut connection).await?;
            Ok(connection)
        };
        let connection = self.bounded(connect).await?;
        *lock(&self.open) = Some(connection.clone());
        Ok(connection)
    }

    /// Opens the subscribing connection.
    pub(super) async fn subscribing(&self) -> Result<PubSub, Trouble> {
        self.bounded(self.client.get_async_pubsub()).await
    }

    async fn bounded<T>(&self, connect: impl Future<Output = Result<T, RedisError>>) -> Result<T, Trouble> {
        match timeout(WITHIN, connect).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => Err(Trouble::away(format!("no answer from {} within {WITHIN:?}", self.address()))),
        }
    }

    /// Says that a side is usable.
    pub(super) fn is_up(&self, side: Side) {
        self.state.send_modify(|state| {
            match side {
                Side::Publishing => state.publishing = true,
                Side::Subscribing => state.subscribing = true,
            }
            if state.publishing && state.subscribing {
                metrics::bus_connected(true);
                state.trouble = None;
                if state.reported.take().is_some() {
                    tracing::info!(address = self.address(), "redis is back");
                } else {
                    tracing::info!(address = self.address(), "connected to redis");
                }
            }
        });
    }

    /// Says that a side is away; logged once for both sides and all attempts of an outage, and again when it turns out that no waiting
    /// helps.
    pub(super) fn is_down(&self, side: Side, trouble: Trouble) {
        if side == Side::Publishing {
            *lock(&self.open) = None;
        }
        metrics::bus_connected(false);
        self.state.send_modify(|state| {
            match side {
                Side::Publishing => state.publishing = false,
                Side::Subscribing => state.subscribing = false,
            }
            if state
                .reported
                .is_none_or(|reported| trouble.misconfigured.is_some() && reported != trouble.misconfigured)
            {
                state.reported = Some(trouble.misconfigured);
                match trouble.misconfigured {
                    Some(_) => tracing::error!("{}", trouble.reason),
                    None => {
                        tracing::warn!(
                            address = self.address(),
                            reason = trouble.reason,
                            "redis is away; reconnecting"
                        );
                    }
                }
            }
            state.trouble = Some(trouble);
        });
        if side == Side::Subscribing {
            self.suspicion.notify_one();
        }
    }

    /// Why it is away.
    pub(super) fn error(&self) -> Error {
        let reason = self.state.borrow().trouble.as_ref().map(|trouble| trouble.reason.clone());
        Error(reason.unwrap_or_else(|| format!("not connected to {} yet", self.address())))
    }

    /// What an operator has to change.
    pub(super) fn misconfigured(&self) -> Option<&'static str> {
        self.state.borrow().trouble.as_ref().and_then(|trouble| trouble.misconfigured)
    }

    /// Waits until both sides are up.
    pub(super) async fn up(&self, limit: Duration) -> Result<(), Error> {
        let mut state = self.state.subscribe();
        let up = timeout(limit, state.wait_for(|state| state.publishing && state.subscribing)).await.is_ok();
        if up { Ok(()) } else { Err(self.error()) }
    }

    /// A round trip over the open publishing connection.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        let open = lock(&self.open).clone();
        let (Some(mut connection), true) = (open, self.state.borrow().subscribing) else {
            return Err(self.error());
        };
        redis::cmd("PING")
            .query_async::<()>(&mut connection)
            .await
            .map_err(|error| Error(self.explain(&error).reason))
    }

    /// The answer to one command over the open publishing connection, or why there is none.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        let Some(mut connection) = lock(&self.open).clone() else { return Err(self.error().0) };
        command.query_async(&mut connection).await.map_err(|error| match error.code() {
            Some("NOPERM") => {
                "redis does not let this user run scripts: grant it +eval +time +get +set +del and its keys"
                    .to_owned()
            }
            _ => self.explain(&error).reason,
        })
    }

    /// Why it cannot be used, and what to do.
    pub(super) fn explain(&self, error: &RedisError) -> Trouble {
        let address = self.address();
        match error.code() {
            Some("NOAUTH") => Trouble::misconfigured(
                format!("redis at {address} asks for a password: put it into REDIS_URL"),
                "redis asks for a password: put it into REDIS_URL",
            ),
            Some("NOPERM") => Trouble::misconfigured(
                format!(
                    "redis at {address} does not let this user publish and subscribe: grant it +@pubsub and its channels"
                ),
                "redis does not let the user publish and subscribe: grant it +@pubsub and its channels",
            ),
            Some("DENIED") => Trouble::misconfigured(
                format!(
                    "redis at {address} is in protected mode and serves its own machine alone: set a password there (requirepass) and put it into REDIS_URL"
                ),
                "redis is in protected mode: set a password there and put it into REDIS_URL",
            ),
            code if code == Some("WRONGPASS") || error.kind() == ErrorKind::AuthenticationFailed => {
                Trouble::misconfigured(
                    format!("redis at {address} refuses the user name or password: correct REDIS_URL"),
                    "redis refuses the user name or password: correct REDIS_URL",
                )
            }
            _ if error.to_string().contains("DB index is out of range") => Trouble::misconfigured(
                format!("redis at {address} has no database of that number: correct the path of REDIS_URL"),
                "redis has no database of that number: correct the path of REDIS_URL",
            ),
            _ if error.is_connection_refusal() => {
                Trouble::away(format!("nothing listens at {address}: start Redis or correct REDIS_URL"))
            }
            _ if error.is_timeout() => {
                Trouble::away(format!("no answer from redis at {address}: is it Redis, and well?"))
            }
            _ => Trouble::away(format!("redis at {address}: {}", one_line(&error.to_string()))),
        }
    }
}
