//! A way to a server that can be cut: the server itself serves other tests.

use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes connections on while it is not cut.
pub(crate) struct Proxy {
    is_cut: watch::Sender<bool>,
}

impl Proxy {
    /// A proxy before the server of `url`, and the URL that leads through it.
    pub(crate) async fn before(url: &str) -> (Self, String) {
        let parsed = url::Url::parse(url).expect("a URL");
        let server = format!("{}:{}", parsed.host_str().expect("a host"), parsed.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (is_cut, cut) = watch::channel(false);
        tokio::spawn(serve(listener, server, cut));
        let mut through = parsed;
        through.set_host(Some("127.0.0.1")).expect("a host");
        through.set_port(Some(SocketAddr::port(&address))).expect("a port");
        (Self { is_cut }, through.into())
    }

    /// Ends every connection, and every new one at once.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn serve(listener: TcpListener, server: String, cut: watch::Receiver<bool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        if *cut.borrow() {
            continue;
        }
        let (server, mut cut) = (server.clone(), cut.clone());
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(server).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}
