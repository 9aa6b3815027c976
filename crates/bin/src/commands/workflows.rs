//! `workflows`: what can be run.

use crate::{
    client::{
        Client, Exit, Failure, ServerArguments,
        shapes::{Parameter, Workflow},
    },
    terminal::{self, Paint, table::Table, text},
};
use reqwest::Method;
use serde_json::value::RawValue;

/// Workflows of one page, and pages at most.
const PAGE: &str = "1000";
const PAGES: usize = 100;

/// Arguments of `workflows`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bifrost workflows                              all of them
  bifrost workflows licence                      those with `licence` in name, description, category or tags
  bifrost workflows onboard_user --parameters    what one of them takes
  bifrost workflows --json | jq -r '.[].name'")]
pub struct Workflows {
    /// Only workflows with this text in name, description, category or tags; the one of this very name when there is one
    filter: Option<String>,
    /// Show the parameters of each
    #[arg(long, short)]
    parameters: bool,
    /// Print JSON: the array that the API gives
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// A workflow, and the text it was sent as.
pub(super) struct Listed {
    pub(super) workflow: Workflow,
    raw: Box<RawValue>,
}

/// Every workflow that the caller may see, by name.
///
/// # Errors
/// When the server says no.
pub(super) async fn all(client: &Client) -> Result<Vec<Listed>, Failure> {
    let mut all = Vec::new();
    let mut token = None::<String>;
    for _ in 0..PAGES {
        let mut request = client.request(Method::GET, &["api", "workflows"]).query("limit", PAGE);
        if let Some(token) = &token {
            request = request.query("continuation_token", token);
        }
        let answer = client.send(&request).await?;
        for raw in answer.read::<Vec<Box<RawValue>>>()? {
            let workflow = serde_json::from_str(raw.get()).map_err(|error| {
                Failure::unreachable(format!("a workflow in the list cannot be read: {error}"))
            })?;
            all.push(Listed { workflow, raw });
        }
        token = answer
            .headers
            .get("x-continuation-token")
            .and_then(|value| value.to_str().ok())
            .map(ToOwned::to_owned);
        if token.is_none() {
            break;
        }
    }
    Ok(all)
}

/// Lists the workflows.
///
/// # Errors
/// When the server says no.
pub async fn workflows(arguments: Workflows) -> Result<Exit, Failure> {
    let client = Client::open(&arguments.server)?;
    let all = all(&client).await?;
    let is_empty = all.is_empty();
    let found = narrowed(all, arguments.filter.as_deref());
    if arguments.json {
        let items: Vec<&str> = found.iter().map(|listed| listed.raw.get()).collect();
        terminal::print(&format!("{}\n", terminal::json::pretty(&format!("[{}]", items.join(",")))))?;
        return Ok(Exit::Ok);
    }
    if is_empty {
        terminal::note(
            "there are no workflows yet: put a Python file with an @workflow function into the server's workspace folder (WORKSPACE_DIR); it is found within a second",
        );
        return Ok(Exit::Ok);
    }
    if found.is_empty() {
        let filter = arguments.filter.as_deref().unwrap_or_default();
        terminal::note(&format!("no workflow has `{}` in it", text::line(filter)));
        return Ok(Exit::Ok);
    }
    let paint = Paint::of_stdout();
    let columns = terminal::width();
    if arguments.parameters {
        let blocks: Vec<String> =
            found.iter().map(|listed| described(&listed.workflow, paint, columns)).collect();
        terminal::print(&blocks.join("\n"))?;
    } else {
        let mut table = Table::new(&["NAME", "CATEGORY", "MODE", "DESCRIPTION"]);
        for Listed { workflow, .. } in &found {
            let description = workflow.description.as_deref().unwrap_or_default();
            table.row([&workflow.name, &workflow.category, &workflow.execution_mode, description]);
        }
        terminal::print(&table.render(paint, columns))?;
    }
    Ok(Exit::Ok)
}

fn narrowed(all: Vec<Listed>, filter: Option<&str>) -> Vec<Listed> {
    let Some(filter) = filter.filter(|filter| !filter.is_empty()) else { return all };
    if let Some(exact) = all.iter().position(|listed| listed.workflow.name == filter) {
        return all.into_iter().skip(exact).take(1).collect();
    }
    let wanted = filter.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    all.into_iter()
        .filter(|Listed { workflow, .. }| {
            has(&workflow.name)
                || has(&workflow.category)
                || workflow.description.as_deref().is_some_and(has)
                || workflow.tags.iter().any(|tag| has(tag))
        })
        .collect()
}

/// A workflow with its parameters.
fn described(workflow: &Workflow, paint: Paint, columns: Option<usize>) -> String {
    let mut out = paint.bold(&text::line(&workflow.name));
    if let Some(description) = workflow.description.as_deref().filter(|text| !text.is_empty()) {
        out.push_str(&format!("  {}", text::line(description)));
    }
    out.push('\n');
    if workflow.parameters.is_empty() {
        out.push_str("  takes nothing\n");
        return out;
    }
    let mut table = Table::new(&["  PARAMETER", "TYPE", "REQUIRED", "DEFAULT", "HELP"]);
    for parameter in &workflow.parameters {
        let default = parameter.default_value.as_ref().map(ToString::to_string).unwrap_or_default();
        let required = if parameter.required && parameter.default_value.is_none() { "yes" } else { "" };
        table.row([&format!("  {}", parameter.name), &parameter.kind, required, &default, &help(parameter)]);
    }
    out.push_str(&table.render(Paint::none(), columns));
    out
}

fn help(parameter: &Parameter) -> String {
    // A label that is only the name again says nothing.
    let is_name = |label: &&String| label.to_lowercase().replace(' ', "_") == parameter.name.to_lowercase();
    let label = parameter.label.as_ref().filter(|label| !is_name(label));
    let words = [parameter.help_text.as_ref(), parameter.description.as_ref(), label];
    let mut help: Vec<String> =
        words.into_iter().flatten().take(1).map(|text| text.trim_end_matches('.').to_owned()).collect();
    if let Some(options) = &parameter.options {
        let values: Vec<String> = options
            .iter()
            .map(|option| option.value.as_str().map_or_else(|| option.value.to_string(), ToOwned::to_owned))
            .collect();
        help.push(format!("one of {}", values.join(", ")));
    }
    help.extend(parameter.data_provider.iter().map(|name| format!("values from `{name}`")));
    help.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listed(name: &str, category: &str, description: &str) -> Listed {
        let value = json!({
            "id": "1", "name": name, "category": category, "description": description, "tags": ["first"],
            "execution_mode": "sync",
            "parameters": [{"name": "size", "type": "string", "required": true, "default_value": "s", "help_text": "How big",
                "options": [{"label": "S", "value": "s"}, {"label": "7", "value": 7}]}],
        });
        let raw = serde_json::value::to_raw_value(&value).expect("JSON");
        Listed { workflow: serde_json::from_str(raw.get()).expect("a workflow"), raw }
    }

    fn names(found: &[Listed]) -> Vec<&str> {
        found.iter().map(|listed| listed.workflow.name.as_str()).collect()
    }

    #[test]
    fn a_filter_finds_by_any_text_and_a_name_finds_itself() {
        let all = || {
            vec![listed("report", "Licences", "counts"), listed("report_old", "Ärger", "Report of before")]
        };
        assert_eq!(names(&narrowed(all(), None)).len(), 2);
        assert_eq!(names(&narrowed(all(), Some("report"))), ["report"]);
        assert_eq!(names(&narrowed(all(), Some("REPORT"))).len(), 2);
        assert_eq!(names(&narrowed(all(), Some("ärger"))), ["report_old"]);
        assert_eq!(names(&narrowed(all(), Some("FIRST"))).len(), 2);
        assert!(narrowed(all(), Some("nothing")).is_empty());
    }

    #[test]
    fn parameters_are_told_with_their_choices() {
        let text = described(&listed("report", "x", "counts").workflow, Paint::none(), None);
        assert!(text.starts_with("report  counts\n"), "{text}");
        let last = text.lines().last().expect("a line");
        let words: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(words, ["size", "string", "\"s\"", "How", "big;", "one", "of", "s,", "7"]);
    }
}
