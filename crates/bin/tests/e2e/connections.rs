//! What a connection may do to the server before it has said who it is.

use crate::support::{Mode, World};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

/// A client that begins a request and stops is let go, whatever it has sent of the head; one that goes on is served.
#[tokio::test]
async fn a_request_that_does_not_go_on_is_ended() {
    World::new(Mode::Embedded)
        .await
        .with("KEEP_ALIVE_SECONDS", "6")
        .run(async |world: &mut World| {
            let half = async |head: &str| {
                let mut stream = TcpStream::connect(world.address()).await.expect("connected");
                stream.write_all(head.as_bytes()).await.expect("sent");
                let started = Instant::now();
                let mut answer = Vec::new();
                let limit = Duration::from_secs(20);
                let ended = timeout(limit, stream.read_to_end(&mut answer)).await;
                assert!(ended.is_ok(), "`{head}` is held open");
                assert!(started.elapsed() > Duration::from_secs(5), "`{head}` had no time");
            };
            tokio::join!(
                half(""),
                half("GET /health"),
                half("GET /health HTTP/1.1\r\nhost: localhost\r\nx-slow: "),
                async {
                    let mut stream = TcpStream::connect(world.address()).await.expect("connected");
                    for part in
                        ["GET /health HTTP/1.1\r\n", "host: localhost\r\n", "connection: close\r\n\r\n"]
                    {
                        stream.write_all(part.as_bytes()).await.expect("sent");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).await.expect("an answer");
                    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
                },
            );
        })
        .await;
}
