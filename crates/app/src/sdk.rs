//! Answers what user code asks of the platform, under the rights of its own run.

use crate::App;
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bifrost_domain::{
    ids::{ConfigId, UserId},
    ports::{
        files::{Error as FileError, Location},
        python::{CallContext, SdkError, SdkErrorKind, SdkReply, SdkRequest, SdkService},
    },
    scope::Scope,
};
use bifrost_storage::settings::{Config, ConfigValue};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Longest configuration value, bytes of JSON.
const MAX_CONFIG_BYTES: usize = 64 * 1024;
/// Files of the workspace that are code: only runs of platform admins write them.
const CODE: [&str; 4] = [".py", "requirements.txt", "pyproject.toml", ".pth"];

#[derive(Deserialize)]
struct ConfigParams {
    #[serde(default)]
    key: String,
    #[serde(default)]
    scope: Option<Scope>,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    is_secret: bool,
}

#[derive(Deserialize)]
struct FileParams {
    #[serde(default)]
    path: String,
    location: Location,
    #[serde(default)]
    base64: String,
}

type Answer = Result<(Value, Vec<String>), SdkError>;

fn no(kind: SdkErrorKind, message: impl Into<String>) -> SdkError {
    SdkError { kind, message: message.into() }
}

fn params<T: DeserializeOwned>(params: Value) -> Result<T, SdkError> {
    serde_json::from_value(params).map_err(|error| no(SdkErrorKind::Invalid, error.to_string()))
}

#[async_trait]
impl SdkService for App {
    async fn handle(&self, context: &CallContext, request: SdkRequest) -> SdkReply {
        let answer = match request.method.as_str() {
            "config.get" => self.config_get(context, request.params).await,
            "config.set" => self.config_set(context, request.params).await,
            "config.list" => self.config_list(context, request.params).await,
            "config.delete" => self.config_delete(context, request.params).await,
            "files.read" | "files.write" | "files.list" | "files.delete" | "files.exists" => {
                self.files(context, &request.method, request.params).await
            }
            other => Err(no(SdkErrorKind::Invalid, format!("this platform does not know `{other}`"))),
        };
        match answer {
            Ok((value, mask)) => SdkReply { outcome: Ok(value), mask },
            Err(error) => SdkReply { outcome: Err(error), mask: Vec::new() },
        }
    }
}

/// The scope that a run may use: its own, or any for runs of platform admins.
fn scope_for(context: &CallContext, asked: Option<Scope>) -> Result<Scope, SdkError> {
    match asked {
        None => Ok(context.scope),
        Some(scope) if scope == context.scope || context.is_platform_admin => Ok(scope),
        Some(_) => Err(no(SdkErrorKind::NotAllowed, "this run may not use another organization's values")),
    }
}

fn check_key(key: &str) -> Result<(), SdkError> {
    let good = (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if good {
        return Ok(());
    }
    Err(no(SdkErrorKind::Invalid, "a key has 1 to 255 letters, digits and underscores"))
}

fn place(scope: Scope, key: &str) -> String {
    format!("config/{scope}/{key}")
}

impl App {
    async fn config_get(&self, context: &CallContext, request: Value) -> Answer {
        let request: ConfigParams = params(request)?;
        check_key(&request.key)?;
        let scope = scope_for(context, request.scope)?;
        let found = self.reader.find_config(scope, &request.key).await.map_err(|error| away(&error))?;
        let Some(config) = found else { return Ok((json!({ "found": false }), Vec::new())) };
        let (value, mask) = match &config.value {
            ConfigValue::Plain { value, .. } => (value.clone(), Vec::new()),
            ConfigValue::Secret { ciphertext, .. } => {
                let opened = self.doors.cipher.open(&place(config.scope, &config.key), ciphertext);
                let plain = opened.map_err(|error| no(SdkErrorKind::Unavailable, error.to_string()))?;
                let value: Value = serde_json::from_slice(&plain)
                    .map_err(|error| no(SdkErrorKind::Unavailable, error.to_string()))?;
                let mask = match &value {
                    Value::String(text) => vec![text.clone()],
                    other => vec![other.to_string()],
                };
                (value, mask)
            }
        };
        Ok((json!({ "found": true, "value": value }), mask))
    }

    async fn config_set(&self, context: &CallContext, request: Value) -> Answer {
        let request: ConfigParams = params(request)?;
        check_key(&request.key)?;
        let scope = scope_for(context, request.scope)?;
        let text = request.value.to_string();
        if text.len() > MAX_CONFIG_BYTES {
            return Err(no(SdkErrorKind::Invalid, format!("a value has at most {MAX_CONFIG_BYTES} bytes")));
        }
        let mut mask = Vec::new();
        let value = if request.is_secret {
            let sealed = self.doors.cipher.seal(&place(scope, &request.key), text.as_bytes());
            let ciphertext = sealed.map_err(|error| no(SdkErrorKind::Unavailable, error.to_string()))?;
            mask.push(request.value.as_str().map_or(text, str::to_owned));
            ConfigValue::Secret { ciphertext, key_id: self.doors.cipher.key_id().to_owned() }
        } else {
            let kind = match &request.value {
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                Value::Number(number) if number.is_i64() => "int",
                _ => "json",
            };
            ConfigValue::Plain { kind: kind.to_owned(), value: request.value }
        };
        let by: UserId =
            context.user_id.parse().map_err(|_| no(SdkErrorKind::Invalid, "the run has no user"))?;
        let config = Config { key: request.key, scope, value };
        let id = ConfigId::from_uuid(self.doors.ids.next());
        let now = self.doors.clock.now();
        self.doors.store.put_config(id, &config, by, now).await.map_err(|error| away(&error))?;
        Ok((Value::Null, mask))
    }

    async fn config_list(&self, context: &CallContext, request: Value) -> Answer {
        let request: ConfigParams = params(request)?;
        let scope = scope_for(context, request.scope)?;
        let configs = self.reader.list_configs(scope).await.map_err(|error| away(&error))?;
        let values = configs.into_iter().map(|config| match config.value {
            ConfigValue::Plain { value, .. } => (config.key, value),
            ConfigValue::Secret { .. } => (config.key, json!("[SECRET]")),
        });
        Ok((Value::Object(values.collect()), Vec::new()))
    }

    async fn config_delete(&self, context: &CallContext, request: Value) -> Answer {
        let request: ConfigParams = params(request)?;
        check_key(&request.key)?;
        let scope = scope_for(context, request.scope)?;
        let deleted =
            self.doors.store.delete_config(scope, &request.key).await.map_err(|error| away(&error))?;
        Ok((json!(deleted), Vec::new()))
    }

    async fn files(&self, context: &CallContext, method: &str, request: Value) -> Answer {
        let FileParams { path, location, base64 } = params(request)?;
        let (files, scope) = (&self.doors.files, context.scope);
        let writes = matches!(method, "files.write" | "files.delete");
        if writes
            && location == Location::Workspace
            && !context.is_platform_admin
            && CODE.iter().any(|ending| path.to_lowercase().ends_with(ending))
        {
            return Err(no(
                SdkErrorKind::NotAllowed,
                "only runs of platform admins change code in the workspace",
            ));
        }
        let value = match method {
            "files.read" => {
                let data = files.read(location, scope, &path).await.map_err(file_error)?;
                json!({ "base64": BASE64.encode(data) })
            }
            "files.write" => {
                let data = BASE64
                    .decode(base64)
                    .map_err(|_| no(SdkErrorKind::Invalid, "the data is not valid base64"))?;
                files.write(location, scope, &path, data.into()).await.map_err(file_error)?;
                Value::Null
            }
            "files.list" => json!(files.list(location, scope, &path).await.map_err(file_error)?),
            "files.delete" => {
                files.delete(location, scope, &path).await.map_err(file_error)?;
                Value::Null
            }
            _ => json!(files.exists(location, scope, &path).await.map_err(file_error)?),
        };
        Ok((value, Vec::new()))
    }
}

fn away(error: &bifrost_storage::Error) -> SdkError {
    tracing::warn!(error = %error, "an SDK request failed");
    let text = match error {
        bifrost_storage::Error::Full(_) => "the disk of the platform's database is full or cannot be written",
        _ => "the platform's database is away; try again",
    };
    no(SdkErrorKind::Unavailable, text)
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn file_error(error: FileError) -> SdkError {
    let kind = match &error {
        FileError::NotFound(_) => SdkErrorKind::NotFound,
        FileError::BadPath(_) | FileError::TooLarge(_) => SdkErrorKind::Invalid,
        FileError::Failed(source) => {
            tracing::warn!(error = %source, "a file request failed");
            SdkErrorKind::Unavailable
        }
    };
    no(kind, error.to_string())
}
