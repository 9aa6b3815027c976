//! Where runs leave a trace outside: a port that counts the words it is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

/// Takes one word per connection, until it is dropped.
pub(crate) struct Door {
    port: u16,
    knocks: Arc<Mutex<HashMap<String, usize>>>,
    open: JoinHandle<()>,
}

impl Door {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let knocks = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
        let counted = knocks.clone();
        let open = tokio::spawn(async move {
            let mut visitors = JoinSet::new();
            loop {
                let (mut visitor, _) = listener.accept().await.expect("a visitor");
                let counted = counted.clone();
                visitors.spawn(async move {
                    let mut word = String::new();
                    visitor.read_to_string(&mut word).await.expect("a word");
                    *counted.lock().expect("not poisoned").entry(word).or_default() += 1;
                });
                while visitors.try_join_next().is_some() {}
            }
        });
        Self { port, knocks, open }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// How often each word was said so far.
    pub(crate) fn knocks(&self) -> HashMap<String, usize> {
        self.knocks.lock().expect("not poisoned").clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.open.abort();
    }
}
