//! Server-Sent Events as a browser reads them (WHATWG HTML, 9.2.6).

use super::PATIENCE;
use futures::{Stream, StreamExt};
use serde_json::Value;
use std::pin::Pin;
use tokio::time::timeout;

type Chunks = Pin<Box<dyn Stream<Item = Vec<u8>> + Send>>;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// `event:`
    pub(crate) name: String,
    /// `id:` of this event or of the last one before it that had one.
    pub(crate) last_id: String,
    pub(crate) data: Value,
}

/// An open stream.
pub(crate) struct Sse {
    chunks: Chunks,
    text: String,
    last_id: String,
    /// `retry:`, milliseconds.
    pub(crate) retry: Option<u64>,
}

impl Sse {
    pub(crate) fn of(response: reqwest::Response) -> Self {
        let chunks =
            response.bytes_stream().map(|chunk| chunk.expect("the stream does not break off").to_vec());
        Self { chunks: Box::pin(chunks), text: String::new(), last_id: String::new(), retry: None }
    }

    /// The next event; `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block = self.text[..end].to_owned();
                self.text.drain(..end + 2);
                if let Some(event) = self.read(&block) {
                    return Some(event);
                }
            }
            let chunk = timeout(PATIENCE, self.chunks.next()).await.expect("an event in time")?;
            self.text.push_str(&String::from_utf8(chunk).expect("UTF-8, whole"));
        }
    }

    fn read(&mut self, block: &str) -> Option<Event> {
        let (mut name, mut data) = ("message".to_owned(), Vec::new());
        for line in block.split('\n') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => {}
                "event" => value.clone_into(&mut name),
                "data" => data.push(value),
                "id" => value.clone_into(&mut self.last_id),
                "retry" => self.retry = Some(value.parse().expect("milliseconds")),
                other => panic!("a field `{other}`"),
            }
        }
        if data.is_empty() {
            return None;
        }
        let data = serde_json::from_str(&data.join("\n")).expect("JSON");
        Some(Event { name, last_id: self.last_id.clone(), data })
    }

    /// Every event up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }
}
