//! `cancel`: asks a run to end.

use crate::{
    client::{Client, Exit, Failure, ServerArguments},
    terminal::{self, text},
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

/// Arguments of `cancel`.
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// Id of the execution
    id: String,
    /// Print JSON: what the API answers
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Deserialize)]
struct Cancelled {
    status: String,
}

/// Asks it to end.
///
/// # Errors
/// When it has ended already, or the server says no.
pub async fn cancel(arguments: Cancel) -> Result<Exit, Failure> {
    let client = Client::open(&arguments.server)?;
    let request =
        client.request(Method::POST, &["api", "executions", &arguments.id, "cancel"]).json(&json!({}))?;
    let answer = client.send(&request).await?;
    if arguments.json {
        let whole: Box<RawValue> = answer.read()?;
        terminal::print(&format!("{}\n", terminal::json::safe(whole.get())))?;
    } else {
        let status = answer.read::<Cancelled>()?.status;
        let meaning = match status.as_str() {
            "Cancelling" => ": it is asked to end, and made to a moment later",
            _ => "",
        };
        terminal::print(&format!("{}{meaning}\n", text::line(&status)))?;
    }
    Ok(Exit::Ok)
}
