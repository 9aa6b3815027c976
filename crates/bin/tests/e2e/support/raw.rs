//! HTTP as bytes, for requests that no client library would send.

use super::PATIENCE;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct RawReply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl RawReply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A request with its length, after which the connection closes.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n").into_bytes();
    for header in headers {
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    if !body.is_empty() {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// Sends the bytes, whole, and then reads every answer until the server closes. Like most clients it does not look at an answer before it
/// has sent everything.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<RawReply> {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let talking = async {
        // A server that has heard enough may close: what it said before is read all the same.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..length]);
        }
        answer
    };
    let answer = timeout(PATIENCE, talking).await.expect("an end in time");
    replies(&answer)
}

/// Sends `first`, waits a moment for what comes at once, sends `then`, and reads to the end.
pub(crate) async fn exchange_in_two(
    address: SocketAddr,
    first: &[u8],
    then: &[u8],
) -> (String, Vec<RawReply>) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(first).await.expect("sent");
    let mut buffer = vec![0; 4096];
    let at_once = match timeout(Duration::from_secs(10), stream.read(&mut buffer)).await {
        Ok(length) => String::from_utf8_lossy(&buffer[..length.expect("read")]).into_owned(),
        Err(_) => String::new(),
    };
    let talking = async {
        let _ = stream.write_all(then).await;
        let mut answer = Vec::new();
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..length]);
        }
        answer
    };
    let answer = timeout(PATIENCE, talking).await.expect("an end in time");
    (at_once, replies(&answer))
}

fn replies(mut bytes: &[u8]) -> Vec<RawReply> {
    let mut replies = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 4..];
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length"));
        let body = &bytes[..length.min(bytes.len())];
        bytes = &bytes[body.len()..];
        replies.push(RawReply { status, headers, body: String::from_utf8_lossy(body).into_owned() });
    }
    replies
}
