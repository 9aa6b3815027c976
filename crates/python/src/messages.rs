//! What stands in the frames: decoding and cleaning of what a child says, encoding of what it is answered.
//!
//! Invariant: what leaves this file can be stored: no NUL, no lone surrogate, bounded lines and bounded depth.

use crate::{
    frames::{FrameError, Kind, encode},
    text,
};
use bifrost_domain::{
    execution::{LogLevel, ResultType, Status},
    ports::python::{RawLine, Returned, SdkReply},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

/// What a child says.
#[derive(Debug, PartialEq)]
pub enum FromChild {
    /// It can take a call; the protocol's version.
    Ready(u32),
    /// Log lines.
    Log(Vec<RawLine>),
    /// All variables.
    Variables {
        /// Name to value.
        variables: Map<String, Value>,
    },
    /// How far it is.
    Progress {
        /// 0 to 1.
        fraction: f64,
        /// What it is doing.
        message: Option<String>,
    },
    /// It asks the platform.
    SdkRequest {
        /// Its number, repeated in the reply.
        id: u64,
        /// e.g. `config.get`.
        method: String,
        /// Parameters.
        params: Value,
    },
    /// How the call ended.
    Result {
        /// What it gave back.
        returned: Box<Returned>,
        /// Whether the child says that it should not serve again.
        recycle: bool,
        /// What the run used, by the child's own count (isolation `fork` only).
        usage: Option<Usage>,
    },
}

/// What a run used of the machine. Its function can falsify it: the process is its own.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Usage {
    /// Highest resident memory of the child or one of its processes, bytes.
    pub peak_memory_bytes: i64,
    /// Processor time of the child and the processes that it waited for, seconds.
    pub cpu_seconds: f64,
}

#[derive(Deserialize)]
struct ReadyPayload {
    protocol: u32,
}

#[derive(Deserialize)]
struct LogPayload {
    lines: Vec<(i64, LogLevel, String, Option<Value>)>,
}

#[derive(Deserialize)]
struct VariablesPayload {
    variables: Map<String, Value>,
}

#[derive(Deserialize)]
struct ProgressPayload {
    fraction: f64,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
struct RequestPayload {
    id: u64,
    method: String,
    #[serde(default)]
    params: Value,
}

#[derive(Deserialize)]
struct ResultPayload<'a> {
    status: Status,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default = "json_type")]
    result_type: ResultType,
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    user_message: Option<String>,
    #[serde(borrow, default)]
    variables: Option<&'a RawValue>,
    #[serde(default)]
    time_saved: f64,
    #[serde(default)]
    value: f64,
    #[serde(default)]
    recycle: bool,
    #[serde(default)]
    usage: Option<Usage>,
}

const fn json_type() -> ResultType {
    ResultType::Json
}

/// Decodes and cleans what a child sent. Log messages are cut to `line_bytes` again: the child's word is not enough.
///
/// # Errors
/// Every error ends the run as `ProtocolError`.
pub fn decode(kind: Kind, payload: &[u8], line_bytes: usize) -> Result<FromChild, FrameError> {
    let malformed = |reason: String| FrameError::Malformed { kind, reason };
    fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, String> {
        serde_json::from_slice(payload).map_err(|error| error.to_string())
    }
    Ok(match kind {
        Kind::Ready => FromChild::Ready(parse::<ReadyPayload>(payload).map_err(malformed)?.protocol),
        Kind::Log => {
            let lines = parse::<LogPayload>(payload).map_err(malformed)?.lines.into_iter();
            FromChild::Log(
                lines
                    .map(|(timestamp_us, level, mut message, mut metadata)| {
                        text::clean(&mut message);
                        // The child's own mark of a cut stands after `line_bytes`.
                        if message.len() > line_bytes + 64 {
                            text::cut(&mut message, line_bytes);
                        }
                        metadata.iter_mut().for_each(text::clean_value);
                        RawLine { timestamp_us, level, message, metadata }
                    })
                    .collect(),
            )
        }
        Kind::Variables => {
            let mut payload: VariablesPayload = parse(payload).map_err(malformed)?;
            text::clean_map(&mut payload.variables);
            FromChild::Variables { variables: payload.variables }
        }
        Kind::Progress => {
            let mut payload: ProgressPayload = parse(payload).map_err(malformed)?;
            payload.message.iter_mut().for_each(text::clean);
            FromChild::Progress { fraction: payload.fraction.clamp(0.0, 1.0), message: payload.message }
        }
        Kind::SdkRequest => {
            let mut payload: RequestPayload = parse(payload).map_err(malformed)?;
            text::clean_value(&mut payload.params);
            FromChild::SdkRequest { id: payload.id, method: payload.method, params: payload.params }
        }
        Kind::Result => {
            let payload: ResultPayload<'_> = parse(payload).map_err(malformed)?;
            let (recycle, usage) = (payload.recycle, payload.usage);
            FromChild::Result { returned: Box::new(payload.clean().map_err(malformed)?), recycle, usage }
        }
        Kind::Call | Kind::SdkReply | Kind::Cancel => return Err(FrameError::WrongDirection(kind)),
    })
}

impl ResultPayload<'_> {
    fn clean(mut self) -> Result<Returned, String> {
        let claimed = [Status::Success, Status::CompletedWithErrors, Status::Failed, Status::Cancelled];
        if !claimed.contains(&self.status) {
            return Err(format!("a run does not end as {}", self.status));
        }
        // Kept as text: a result of megabytes would take many times its size as a value.
        let result = match self.result.map(RawValue::get) {
            None => None,
            Some(raw) if text::inspect_raw(raw)? => Some(text::rewrite_raw(raw)?.into()),
            Some(raw) => Some(raw.into()),
        };
        let mut variables: Option<Map<String, Value>> = match self.variables.map(RawValue::get) {
            None => None,
            Some(raw) if raw.len() > Kind::Variables.limit() => {
                return Err(format!("{} bytes of variables", raw.len()));
            }
            Some(raw) => serde_json::from_str(raw).map_err(|error| error.to_string())?,
        };
        for field in [&mut self.error_type, &mut self.error_message, &mut self.user_message] {
            field.iter_mut().for_each(text::clean);
        }
        variables.iter_mut().for_each(text::clean_map);
        Ok(Returned {
            status: self.status,
            result,
            result_type: self.result_type,
            error_type: self.error_type,
            error_message: self.error_message,
            user_message: self.user_message,
            variables,
            time_saved: self.time_saved,
            value: self.value,
        })
    }
}

/// Encodes the answer to request `id`; one that is too large becomes an error that says so.
pub(crate) fn encode_reply(id: u64, reply: &SdkReply) -> Result<Bytes, FrameError> {
    #[derive(Serialize)]
    struct Payload<'a> {
        id: u64,
        #[serde(flatten)]
        outcome: Value,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        mask: &'a [String],
    }
    let outcome = match &reply.outcome {
        Ok(value) => serde_json::json!({"ok": value}),
        Err(error) => serde_json::json!({"error": error}),
    };
    match encode(Kind::SdkReply, &Payload { id, outcome, mask: &reply.mask }) {
        Err(FrameError::TooLarge { bytes, .. }) => {
            let message = format!("the answer has {bytes} bytes, at most {} fit", Kind::SdkReply.limit());
            let outcome = serde_json::json!({"error": {"kind": "invalid", "message": message}});
            encode(Kind::SdkReply, &Payload { id, outcome, mask: &[] })
        }
        frame => frame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{HEADER_BYTES, take_frame};
    use bifrost_domain::ports::python::{SdkError, SdkErrorKind};
    use bytes::BytesMut;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn frames_are_decoded_and_cleaned() {
        let log =
            decode(Kind::Log, br#"{"lines":[[7,"INFO","a\u0000b",{"k":1}],[8,"TRACEBACK","t",null]]}"#, 100);
        let FromChild::Log(lines) = log.expect("log") else { panic!("not a log") };
        assert_eq!(lines[0].message, "a\u{fffd}b");
        assert_eq!(lines[1].level, LogLevel::Traceback);

        let long = json!({"lines": [[1, "INFO", "x".repeat(1000), null]]}).to_string();
        let FromChild::Log(lines) = decode(Kind::Log, long.as_bytes(), 100).expect("log") else {
            panic!("not a log")
        };
        assert_eq!(lines[0].message, format!("{}… [line cut: 900 bytes]", "x".repeat(100)));

        let raw =
            r#"{"status":"Success","result": {"a":"\u0000", "n":12345678901234567890},"time_saved":2.5}"#;
        let FromChild::Result { returned, recycle: false, .. } =
            decode(Kind::Result, raw.as_bytes(), 100).expect("result")
        else {
            panic!("not a result")
        };
        assert_eq!(returned.result.as_deref(), Some("{\"a\":\"\u{fffd}\",\"n\":12345678901234567890}"));
        assert!((returned.time_saved - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_not_described_is_refused() {
        for (kind, payload) in [
            (Kind::Result, r#"{"status":"Running"}"#.to_owned()),
            (Kind::Result, r#"{"status":"Success","result":["\ud800"]}"#.to_owned()),
            (
                Kind::Result,
                format!(r#"{{"status":"Success","result":{}{}}}"#, "[".repeat(101), "]".repeat(101)),
            ),
            (
                Kind::Result,
                format!(
                    r#"{{"status":"Success","variables":{{"v":"{}"}}}}"#,
                    "x".repeat(Kind::Variables.limit())
                ),
            ),
            (Kind::Log, r#"{"lines":[[1,"LOUD","x",null]]}"#.to_owned()),
            (Kind::Log, "[]".to_owned()),
            (Kind::Variables, r#"{"version":1,"variables":[1]}"#.to_owned()),
            (Kind::Progress, r#"{"fraction":NaN}"#.to_owned()),
            (Kind::Cancel, "{}".to_owned()),
            (Kind::SdkRequest, "\u{fffd}".to_owned()),
        ] {
            assert!(decode(kind, payload.as_bytes(), 100).is_err(), "{kind:?} {payload}");
        }
    }

    #[test]
    fn replies_carry_values_errors_and_masks() {
        let ok = SdkReply { outcome: Ok(json!({"found": true})), mask: vec!["s3cret".into()] };
        let bytes = encode_reply(3, &ok).expect("encoded");
        assert_eq!(
            serde_json::from_slice::<Value>(&bytes[HEADER_BYTES..]).expect("json"),
            json!({"id": 3, "ok": {"found": true}, "mask": ["s3cret"]})
        );
        let refused = SdkError { kind: SdkErrorKind::NotAllowed, message: "no".into() };
        let bytes = encode_reply(4, &SdkReply { outcome: Err(refused), mask: vec![] }).expect("encoded");
        assert_eq!(
            serde_json::from_slice::<Value>(&bytes[HEADER_BYTES..]).expect("json"),
            json!({"id": 4, "error": {"kind": "not_allowed", "message": "no"}})
        );
        let huge = SdkReply { outcome: Ok(json!("x".repeat(Kind::SdkReply.limit()))), mask: vec![] };
        let bytes = encode_reply(5, &huge).expect("encoded");
        assert!(bytes.len() < 1000);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048), kind in 0_u8..12) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some((kind, payload))) = take_frame(&mut buffer) {
                let _outcome = decode(kind, &payload, 64);
            }
            if let Some(kind) = Kind::from_number(kind) {
                let _outcome = decode(kind, &bytes, 64);
            }
        }

        #[test]
        fn any_json_like_text_never_panics(text in r#"[\[\]{}",:0-9a-fu\\ ]{0,200}"#, kind in 1_u8..10) {
            if let Some(kind) = Kind::from_number(kind) {
                let payload = format!(r#"{{"status":"Success","result":{text}}}"#);
                let _outcome = decode(kind, payload.as_bytes(), 64);
            }
        }
    }
}
