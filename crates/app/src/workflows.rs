//! The catalog of workflows: kept equal to the workspace by a worker, read by everybody.

use crate::{
    App, executions,
    pages::{cut, one_more},
};
use bifrost_domain::{
    definition::{Definition, DefinitionKind, Issue, Severity},
    error::{Error, Result},
    messages::topics,
    policy::{self, Caller, Visibility, actions},
    ports::python::{SourceReport, WorkspaceReport},
    validation,
};
use bifrost_storage::workflows::{Declared, Workflow};
use bytes::Bytes;
use dashmap::DashMap;
use std::{
    cmp::Ordering,
    collections::HashMap,
    time::{Duration, Instant},
};

/// How old a looked-up workflow may be before it is looked up again: an edit is live within a second, and half of that
/// belongs to the workspace.
const CATALOG_TTL: Duration = Duration::from_millis(250);
/// Looked-up workflows at most.
const CATALOG_SIZE: usize = 4_096;
/// Longest source that is validated, bytes.
pub const MAX_SOURCE_BYTES: usize = 1024 * 1024;

/// Workflows that were looked up a moment ago, for the hot path of submit.
#[derive(Debug, Default)]
pub struct Catalog {
    recent: DashMap<(Option<bifrost_domain::scope::Scope>, String), (Instant, Workflow)>,
}

impl App {
    pub(crate) async fn cached_workflow(
        &self,
        name: &str,
        visibility: &Visibility,
    ) -> Result<Option<Workflow>> {
        let key = (visibility.scope(), name.to_owned());
        if let Some(entry) = self.catalog.recent.get(&key)
            && entry.0.elapsed() < CATALOG_TTL
        {
            return Ok(Some(entry.1.clone()));
        }
        let found = self.reader.find_workflow_by_name(name, visibility).await?;
        if let Some(workflow) = &found {
            if self.catalog.recent.len() >= CATALOG_SIZE {
                self.catalog.recent.clear();
            }
            self.catalog.recent.insert(key, (Instant::now(), workflow.clone()));
        }
        Ok(found)
    }

    /// A page of the workflows that the caller may see, by name: at most `limit`, and whether there are more.
    ///
    /// # Errors
    /// The database is away.
    pub async fn list_workflows(
        &self,
        caller: &Caller,
        after_name: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Workflow>, bool)> {
        policy::authorize::<actions::ReadWorkflows>(caller)?;
        let visible = policy::visible_workflows(caller);
        let found = self.reader.list_workflows(&visible, after_name, one_more(limit)).await?;
        Ok(cut(found, limit))
    }

    /// Checks source text without running it.
    ///
    /// # Errors
    /// Invalid when it is too long; unavailable where no Python is.
    pub async fn validate_source(&self, caller: &Caller, path: &str, source: &str) -> Result<SourceReport> {
        policy::authorize::<actions::ValidateWorkflows>(caller)?;
        if source.len() > MAX_SOURCE_BYTES {
            return Err(Error::invalid(
                "content",
                "too_long",
                format!("is longer than {MAX_SOURCE_BYTES} bytes"),
            ));
        }
        let inspector = self.doors.inspector.as_ref().ok_or_else(executions::no_python)?;
        let mut report = inspector.inspect(path, source).await.map_err(Error::unavailable)?;
        report.issues.extend(report.definitions.iter().flat_map(validation::issues));
        let visible = policy::visible_workflows(caller);
        for definition in report.definitions.iter().filter(|one| one.kind != DefinitionKind::DataProvider) {
            let known = self.reader.find_workflow_by_name(&definition.name, &visible).await?;
            report.issues.extend(known.and_then(|known| name_issue(definition, path, &known.path)));
        }
        Ok(report)
    }

    /// Reads a file of the workspace for validation.
    ///
    /// # Errors
    /// Not found, or a path that leaves the workspace.
    pub async fn read_workspace_source(&self, caller: &Caller, path: &str) -> Result<String> {
        use bifrost_domain::ports::files::{Error as FileError, Location};
        policy::authorize::<actions::ValidateWorkflows>(caller)?;
        let data =
            self.doors.files.read(Location::Workspace, caller.scope, path).await.map_err(
                |error| match error {
                    FileError::NotFound(_) => Error::not_found("file"),
                    FileError::Failed(source) => Error::internal(source),
                    other => Error::invalid("path", "invalid", other.to_string()),
                },
            )?;
        String::from_utf8(data.to_vec()).map_err(|_| Error::invalid("path", "encoding", "is not UTF-8 text"))
    }

    /// Makes the catalog equal to what a worker found in the workspace. Of two definitions with one name the one in the later
    /// file is left out and reported, and so is what the database cannot keep. Returns the issues that were found here.
    ///
    /// # Errors
    /// The database is away: the caller tries again.
    pub async fn sync_workspace(&self, report: &WorkspaceReport) -> Result<Vec<(String, Issue)>> {
        let (declared, mut issues) = declared_of(report);
        let ids = self.doors.ids.clone();
        let synced = self.doors.store.sync_catalog(&declared, || ids.next(), self.doors.clock.now()).await?;
        issues.extend(synced.refused.into_iter().map(|(one, reason)| {
            let message = format!("the workflow is not used: {reason}");
            (one.path, Issue { line: one.definition.line, message, severity: Severity::Error })
        }));
        let changed = synced.changed;
        if changed > 0 {
            self.catalog.recent.clear();
            self.doors.bus.publish(topics::WORKFLOWS, Bytes::new());
            tracing::info!(workflows = declared.len(), changed, version = %report.version, "the workspace's workflows are in place");
        }
        Ok(issues)
    }
}

/// What is wrong with the name of a definition in `path` when the workspace has it in `known`: of two the first by path is used.
fn name_issue(definition: &Definition, path: &str, known: &str) -> Option<Issue> {
    let name = &definition.name;
    let (severity, message) = match known.cmp(path.trim_start_matches("./")) {
        Ordering::Less => {
            (Severity::Error, format!("the name `{name}` is taken by {known}; this one is not used"))
        }
        Ordering::Greater => (
            Severity::Warning,
            format!("{known} has the name `{name}`, too, and is not used beside this file"),
        ),
        Ordering::Equal => return None,
    };
    Some(Issue { line: definition.line, message, severity })
}

fn declared_of(report: &WorkspaceReport) -> (Vec<Declared>, Vec<(String, Issue)>) {
    let mut files: Vec<_> = report.files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    // Workflows and data providers have names of their own.
    let mut first: HashMap<(bool, &str), &str> = HashMap::new();
    let mut declared = Vec::new();
    let mut issues = Vec::new();
    for file in files {
        for definition in &file.definitions {
            let key = (definition.kind == DefinitionKind::DataProvider, definition.name.as_str());
            if let Some(other) = first.get(&key) {
                let message =
                    format!("the name `{}` is taken by {other}; this one is not used", definition.name);
                issues.push((
                    file.path.clone(),
                    Issue { line: definition.line, message, severity: Severity::Error },
                ));
                continue;
            }
            first.insert(key, &file.path);
            issues.extend(validation::issues(definition).into_iter().map(|issue| (file.path.clone(), issue)));
            declared.push(Declared {
                path: file.path.clone(),
                source_hash: file.hash.clone(),
                definition: definition.clone(),
            });
        }
    }
    (declared, issues)
}
