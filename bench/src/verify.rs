//! Whether every accepted run is there once and ended well: by the API's list and by counting rows.

use crate::{
    http::{Client, request},
    load::Ledger,
    place::{Place, Sql},
    servers::{Servers, WORKFLOW},
};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The books against what is stored.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    /// Runs that the API has answered with an id.
    pub(crate) accepted: usize,
    /// Requests that were not answered with success.
    pub(crate) failed: usize,
    /// Rows in the database, and those of them with status `Success`.
    pub(crate) rows: i64,
    pub(crate) successes: i64,
    /// Runs in the API's list, and those of them with status `Success`.
    pub(crate) listed: usize,
    pub(crate) listed_successes: usize,
    /// Accepted runs that the API does not list.
    pub(crate) missing: usize,
    /// What is wrong, in words; empty when all is well.
    pub(crate) problems: Vec<String>,
}

#[derive(Deserialize)]
struct Page {
    executions: Vec<Listed>,
    continuation_token: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    execution_id: String,
    status: String,
}

/// Looks at everything that has been accepted so far.
pub(crate) async fn verify(servers: &Servers, place: &Place, ledger: &Ledger) -> Result<Verdict> {
    let (rows, successes) = count(place).await?;
    let mut client = Client::connect(servers.address).await?;
    let (mut listed, mut listed_successes) = (BTreeSet::new(), 0);
    let mut listed_twice = 0;
    let mut token: Option<String> = None;
    loop {
        let after = token.map(|token| format!("&continuation_token={token}")).unwrap_or_default();
        let path = format!("/api/executions?limit=1000&workflowName={WORKFLOW}{after}");
        let page: Page = client.send(&request("GET", &path, Some(&servers.token), None)).await?.ok()?;
        for execution in page.executions {
            listed_successes += usize::from(execution.status == "Success");
            listed_twice += usize::from(!listed.insert(execution.execution_id));
        }
        token = page.continuation_token;
        if token.is_none() {
            break;
        }
    }
    let accepted: BTreeSet<&String> = ledger.accepted.iter().collect();
    let missing = accepted.iter().filter(|id| !listed.contains(**id)).count();
    let mut problems = ledger.quotes.clone();
    let wanted = ledger.accepted.len();
    let mut expect = |what: &str, found: usize, wanted: usize| {
        if found != wanted {
            problems.push(format!("{what}: {found}, expected {wanted}"));
        }
    };
    expect("requests without success", ledger.failed, 0);
    expect("distinct ids", accepted.len(), wanted);
    expect("rows", usize::try_from(rows).unwrap_or_default(), wanted);
    expect("rows with success", usize::try_from(successes).unwrap_or_default(), wanted);
    expect("listed runs", listed.len(), wanted);
    expect("runs listed twice", listed_twice, 0);
    expect("listed runs with success", listed_successes, wanted);
    expect("accepted runs that are not listed", missing, 0);
    Ok(Verdict {
        accepted: wanted,
        failed: ledger.failed,
        rows,
        successes,
        listed: listed.len(),
        listed_successes,
        missing,
        problems,
    })
}

/// Rows of the workflow, and how many of them ended well.
async fn count(place: &Place) -> Result<(i64, i64)> {
    // COUNT of a CASE is said the same in both databases.
    let query = "SELECT count(*), count(CASE WHEN status = 'Success' THEN 1 END) FROM executions WHERE workflow_name = $1";
    Ok(match place.sql().await? {
        Sql::Postgres(mut connection) => {
            sqlx::query_as(query).bind(WORKFLOW).fetch_one(&mut connection).await?
        }
        Sql::Sqlite(mut connection) => {
            sqlx::query_as(query).bind(WORKFLOW).fetch_one(&mut connection).await?
        }
    })
}
