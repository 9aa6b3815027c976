//! One HTTP/1.1 connection, kept alive, one request at a time.
//!
//! Written by hand because the client shares the processors with what it measures: a request is bytes made once, sent in
//! one write, and of the answer only status, length and body are read. A general client spends several times as much
//! on header maps, pools and body streams, and on two cores that would be measured along. Only what the API answers with is
//! understood (`Content-Length`, no transfer coding); anything else is an error, never a guess.

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Largest head and body that are read.
const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, token: Option<&str>, body: Option<(&str, &str)>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n");
    if let Some(token) = token {
        text.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    match body {
        Some((kind, body)) => {
            text.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
        None => text.push_str("\r\n"),
    }
    text.into_bytes()
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(4096) })
    }

    /// Sends and waits for the whole answer. After an error the connection is of no more use.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<Reply> {
        self.stream.write_all(request).await.context("send")?;
        let (status, begin, length) = loop {
            if let Some(head) = parse_head(&self.received)? {
                break head;
            }
            if self.received.len() > MAX_HEAD {
                bail!("the head of the answer is over {MAX_HEAD} bytes");
            }
            self.receive().await?;
        };
        if length > MAX_BODY {
            bail!("the answer has {length} bytes, more than {MAX_BODY}");
        }
        while self.received.len() < begin + length {
            self.receive().await?;
        }
        let body = self.received[begin..begin + length].to_vec();
        self.received.drain(..begin + length);
        Ok(Reply { status, body })
    }

    async fn receive(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.received).await.context("receive")? {
            0 => bail!("the server closed the connection"),
            _ => Ok(()),
        }
    }
}

impl Reply {
    /// The body of a 200.
    pub(crate) fn ok<T: DeserializeOwned>(&self) -> Result<T> {
        if self.status != 200 {
            bail!("status {}: {}", self.status, self.text());
        }
        serde_json::from_slice(&self.body).with_context(|| format!("unexpected answer {}", self.text()))
    }

    /// The beginning of the body.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(500)]).into_owned()
    }
}

/// Status, where the body begins, and its length; `None` while the head is not complete.
fn parse_head(received: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&received[..end]).context("the head of the answer is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .context("the answer is not HTTP/1.1")?;
    let mut length = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().context("Content-Length")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the answer comes in pieces (Transfer-Encoding), which this client does not read");
        }
    }
    let length =
        length.or_else(|| (status == 204).then_some(0)).context("the answer has no Content-Length")?;
    Ok(Some((status, end + 4, length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers one connection with these bytes, in the given pieces.
    async fn server(pieces: Vec<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            for piece in pieces {
                stream.write_all(&piece).await.expect("sent");
                stream.flush().await.expect("sent");
                tokio::task::yield_now().await;
            }
        });
        address
    }

    async fn answer(pieces: &[&str]) -> Result<Reply> {
        let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect();
        let mut client = Client::connect(server(pieces).await).await?;
        client.send(&request("GET", "/", Some("t"), None)).await
    }

    #[tokio::test]
    async fn an_answer_in_pieces_is_put_together() {
        let reply = answer(&["HTTP/1.1 200 OK\r\ncontent-le", "ngth: 8\r\n\r\n[1,", "2,33]"]).await;
        let reply = reply.expect("an answer");
        assert_eq!(reply.ok::<Vec<u32>>().expect("numbers"), [1, 2, 33]);
        let refused = answer(&["HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nsorry"]).await;
        let error = refused.expect("an answer").ok::<Vec<u32>>().expect_err("not 200");
        assert_eq!(error.to_string(), "status 401: sorr");
    }

    #[tokio::test]
    async fn what_is_not_understood_is_an_error() {
        for (sent, told) in [
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "in pieces"),
            ("HTTP/1.1 200 OK\r\n\r\n", "no Content-Length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "more than"),
            ("SSH-2.0\r\n\r\n", "not HTTP/1.1"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "closed"),
        ] {
            let error = answer(&[sent]).await.expect_err(sent);
            assert!(error.to_string().contains(told), "{sent:?}: {error}");
        }
        let endless = "x".repeat(MAX_HEAD + 2);
        assert!(answer(&[&endless]).await.expect_err("endless").to_string().contains("over"));
    }
}
