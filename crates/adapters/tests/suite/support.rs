//! What the tests over servers share: where the servers are, names of their own, and a proxy that cuts connections.

use bifrost_domain::clock::{Ids, SystemIds};
use std::{future::Future, net::SocketAddr, sync::Mutex, time::Duration};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The variable, or the server on this machine. Tests fail without it; they do not skip.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no settings: the servers are named by the environment"
)]
pub(crate) fn server(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

/// A prefix that no other test has.
pub(crate) fn unique_prefix() -> String {
    format!("test-{}", SystemIds.next().simple())
}

/// Waits for `future` with a bound.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.map_err(|_| what.to_owned()).expect("in time")
}

/// Forwards to a server, until it is told not to.
pub(crate) struct Proxy {
    address: SocketAddr,
    target: String,
    frozen: watch::Sender<bool>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// Begins to forward to `target` (`host:port`).
    pub(crate) async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let proxy = Self {
            address,
            target: target.to_owned(),
            frozen: watch::Sender::new(false),
            serving: Mutex::default(),
        };
        proxy.serve(listener);
        proxy
    }

    /// The same URL through the proxy: authority replaced, credentials and the rest kept.
    pub(crate) async fn to(url: &str, default_port: u16) -> (Self, String) {
        let mut url = url::Url::parse(url).expect("a URL");
        let host = url.host_str().expect("a host").to_owned();
        let proxy = Self::start(&format!("{host}:{}", url.port().unwrap_or(default_port))).await;
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(proxy.address.port())).expect("a port");
        (proxy, url.to_string())
    }

    fn serve(&self, listener: TcpListener) {
        let (target, frozen) = (self.target.clone(), self.frozen.subscribe());
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.expect("a connection");
                let (target, mut frozen) = (target.clone(), frozen.clone());
                connections.spawn(async move {
                    let Ok(mut far) = TcpStream::connect(&target).await else { return };
                    let _ = (near.set_nodelay(true), far.set_nodelay(true));
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        // Stops forwarding and keeps both ends open.
                        _ = async { drop(frozen.wait_for(|frozen| *frozen).await) } => std::future::pending().await,
                    }
                });
            }
        });
        *self.serving.lock().expect("not poisoned") = Some(serving);
    }

    /// Cuts every connection; new ones are refused.
    pub(crate) async fn cut(&self) {
        let serving = self.serving.lock().expect("not poisoned").take();
        if let Some(serving) = serving {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// Listens again, at the same address.
    pub(crate) async fn restore(&self) {
        self.frozen.send_replace(false);
        self.serve(TcpListener::bind(self.address).await.expect("the same port"));
    }

    /// Connections stay open, but nothing passes any more.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }
}
