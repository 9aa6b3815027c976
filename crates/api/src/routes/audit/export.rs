//! `GET /api/audit/export`: the log as a file, read page by page while it is sent.

use super::{FilterIn, LineOut, ListOut};
use crate::{
    extract::{PageIn, Query, SignedIn, encode_token},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bifrost_domain::{
    error::Error,
    ids::AuditId,
    policy::{Permit, actions::ReadAudit},
};
use bifrost_storage::{Reader, audit::Filter};
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Lines that are read together.
const PAGE: usize = 500;
const COLUMNS: &str = "id,at,organization_id,actor_id,actor_email,actor_name,application_id,on_behalf_of,action,\
                       resource_type,resource_id,outcome,changes,detail,request_id,ip_address\r\n";
/// The commas after the first cell of a line.
const EMPTY_CELLS: &str = ",,,,,,,,,,,,,,,";

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// RFC 4180, for spreadsheets.
    Csv,
    /// As the list.
    Json,
}

/// How the file is written, and where it begins.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportIn {
    /// `csv` (the default) or `json`.
    #[param(inline)]
    format: Option<Format>,
    /// Where an export that was cut goes on, as it said.
    continuation_token: Option<String>,
}

/// Export the audit log
///
/// Newest first, at most 100,000 lines. When there are more, the last line of a CSV file says so with the token that goes on, and in JSON
/// `continuation_token` is set.
#[utoipa::path(
    get, path = "/api/audit/export", tag = "audit", params(FilterIn, ExportIn),
    responses(
        (status = 200, content((String = "text/csv"), (ListOut = "application/json"))),
        (status = 403, description = "the permission is missing", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad parameters", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
pub(super) async fn export(
    State(state): State<ApiState>,
    me: SignedIn,
    Query(filter): Query<FilterIn>,
    Query(input): Query<ExportIn>,
) -> Result<Response> {
    let permit = me.permit::<ReadAudit>()?;
    let page = PageIn { limit: None, continuation_token: input.continuation_token };
    let (_, before) = page.resolve(1)?;
    let format = input.format.unwrap_or(Format::Csv);
    let mut export = Export {
        reader: state.reader.clone(),
        permit,
        filter: filter.checked(before.map(AuditId::from_uuid))?,
        format,
        left: state.settings.audit_export_lines,
        begun: false,
        ended: false,
    };
    // A database that is away is an answer, not a file that ends in the middle.
    let first = export.next().await?;
    let rest = stream::unfold(Some(export), |export| async {
        let mut export = export?;
        match export.next().await {
            Ok(part) => part.map(|part| (Ok(part), Some(export))),
            Err(error) => Some((Err(error), None)),
        }
    });
    // Fused: who packs the body asks once more after its end.
    let body = stream::iter(first.map(Ok)).chain(rest).fuse();
    let (media_type, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8; header=present", "attachment; filename=\"audit.csv\""),
        Format::Json => ("application/json", "attachment; filename=\"audit.json\""),
    };
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    Ok(response)
}

/// What is still to be sent.
struct Export {
    reader: Reader,
    permit: Permit<ReadAudit>,
    filter: Filter,
    format: Format,
    left: usize,
    begun: bool,
    ended: bool,
}

impl Export {
    /// The next part of the file; `None` after its end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.ended {
            return Ok(None);
        }
        let wanted = self.left.min(PAGE);
        // One more tells whether there is more.
        let mut lines = self.reader.list_audit(&self.permit, self.filter.clone(), wanted as u64 + 1).await?;
        let more = lines.len() > wanted;
        lines.truncate(wanted);
        self.left -= lines.len();
        self.filter.before = lines.last().map(|line| line.id).or(self.filter.before);
        self.ended = !more || self.left == 0;
        let cut = self.filter.before.filter(|_| self.ended && more).map(|id| encode_token(id.as_uuid()));
        let lines = lines.into_iter().map(LineOut::from);
        let mut text = String::new();
        match self.format {
            Format::Csv => {
                if !self.begun {
                    text.push_str(COLUMNS);
                }
                lines.for_each(|line| record(&mut text, &line));
                if let Some(token) = cut {
                    cell(&mut text, &format!("cut here; go on with continuation_token={token}"));
                    text.push_str(EMPTY_CELLS);
                    text.push_str("\r\n");
                }
            }
            Format::Json => {
                text.push_str(if self.begun { "" } else { "{\"entries\":[" });
                for (index, line) in lines.enumerate() {
                    if self.begun || index > 0 {
                        text.push(',');
                    }
                    text.push_str(&serde_json::to_string(&line).map_err(Error::internal)?);
                }
                if self.ended {
                    text.push_str("],\"continuation_token\":");
                    text.push_str(&Value::from(cut).to_string());
                    text.push('}');
                }
            }
        }
        self.begun = true;
        Ok(Some(text.into()))
    }
}

/// One line of the file.
fn record(text: &mut String, line: &LineOut) {
    let json = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    let cells = [
        Some(line.id.to_string()),
        Some(line.at.to_rfc3339()),
        line.organization_id.map(|id| id.to_string()),
        line.actor_id.map(|id| id.to_string()),
        line.actor_email.clone(),
        line.actor_name.clone(),
        line.application_id.map(|id| id.to_string()),
        line.on_behalf_of.map(|id| id.to_string()),
        Some(line.action.clone()),
        Some(line.resource_type.clone()),
        line.resource_id.clone(),
        Some(line.outcome.clone()),
        json(&line.changes),
        json(&line.detail),
        line.request_id.clone(),
        line.ip_address.clone(),
    ];
    for (index, value) in cells.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        cell(text, value.as_deref().unwrap_or_default());
    }
    text.push_str("\r\n");
}

/// One cell. What a spreadsheet would calculate begins with an apostrophe, so that it is a text: a stranger's address is in this file.
fn cell(text: &mut String, value: &str) {
    let harmless = disarmed(value);
    let quoted = harmless != value || value.contains(['"', ',', '\r', '\n']) || value.trim() != value;
    if !quoted {
        text.push_str(value);
        return;
    }
    text.push('"');
    text.push_str(&harmless.replace('"', "\"\""));
    text.push('"');
}

/// The value with an apostrophe before each formula. One begins at the beginning, and behind what separates cells in other languages than
/// English (semicolons, tabs) or lines: there quotes in the middle of what such a spreadsheet takes for a cell keep nothing together.
fn disarmed(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut begins = true;
    if value.starts_with(['\t', '\r', '\n']) {
        text.push('\'');
    }
    for letter in value.chars() {
        if begins && matches!(letter, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠') {
            text.push('\'');
        }
        begins = matches!(letter, ';' | '\t' | '\r' | '\n') || (begins && matches!(letter, ' ' | '"'));
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_texts_and_stay_cells() {
        for (value, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            (" edge ", "\" edge \""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\tx", "\"'\tx\""),
            ("\rx", "\"'\rx\""),
            ("＝1", "\"'＝1\""),
            ("a=b", "a=b"),
            (" =1", "\" '=1\""),
            ("a;=1+1", "\"a;'=1+1\""),
            ("a; \"@b", "\"a; \"\"'@b\""),
            ("a\t-1", "\"a\t'-1\""),
            ("a\n=1", "\"a\n'=1\""),
            ("a; b-c", "a; b-c"),
        ] {
            let mut text = String::new();
            cell(&mut text, value);
            assert_eq!(text, expected, "{value:?}");
        }
    }

    #[test]
    fn every_line_has_the_same_cells() {
        assert_eq!(COLUMNS.matches(',').count(), EMPTY_CELLS.len());
    }
}
