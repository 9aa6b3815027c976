//! Server-Sent Events out of bytes (WHATWG HTML, "Server-sent events").

/// Longest event, bytes: a line of a log has 512 KiB at most, a set of variables 256 KiB, and JSON writes some letters as six.
const LONGEST: usize = 16 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Its name.
    pub event: String,
    /// Its text.
    pub data: String,
}

/// Takes bytes as they come.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// Bytes without a line's end so far.
    pending: Vec<u8>,
    event: String,
    data: String,
    has_data: bool,
}

/// An event was longer than anything that Bifrost sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Parser {
    /// Takes bytes, and gives the events that they complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut messages = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(part);
            if self.pending.len() + self.data.len() > LONGEST {
                return Err(TooLong);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.pending);
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                messages.extend(self.line(&String::from_utf8_lossy(line)));
            }
        }
        Ok(messages)
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let message =
                Message { event: std::mem::take(&mut self.event), data: std::mem::take(&mut self.data) };
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments (an empty name), `id` and `retry`: the sequence stands in the data, and pauses are ours.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event: &str, data: &str) -> Message {
        Message { event: event.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_arrive_whole_however_they_are_cut() {
        let text = ": hello\n\nevent: execution_log\nid: 1\ndata: {\"a\":\"ä\"}\n\nevent:x\r\ndata:1\r\ndata: 2\r\n\r\ndata\n\nevent: lost\n\n";
        let wanted = [message("execution_log", "{\"a\":\"ä\"}"), message("x", "1\n2"), message("", "")];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut got = Vec::new();
            for part in text.as_bytes().chunks(size) {
                got.extend(parser.take(part).expect("short"));
            }
            assert_eq!(got, wanted, "{size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let part = vec![b'x'; 1024 * 1024];
        assert_eq!(parser.take(b"data: "), Ok(Vec::new()));
        let refused = (0..17).map(|_| parser.take(&part)).find(Result::is_err);
        assert_eq!(refused, Some(Err(TooLong)));
        let mut parser = Parser::default();
        let line = [b"data: ".as_slice(), &part, b"\n"].concat();
        let refused = (0..17).map(|_| parser.take(&line)).find(Result::is_err);
        assert_eq!(refused, Some(Err(TooLong)), "lines of one event count together");
    }
}
