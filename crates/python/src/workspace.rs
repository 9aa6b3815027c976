//! Follows the workspace folder: what changes there is scanned, copied, compiled and published within a second.
//!
//! Signal and sweep: the kernel's notifications wake it, and every few seconds a comparison of times and sizes finds what
//! they missed. A file that breaks the inspector breaks only itself.

use crate::{
    inspector::{InspectorProcess, MAX_SOURCE_BYTES},
    snapshots::{Snapshot, Snapshots},
    tree::{self, Fingerprint},
};
use bifrost_domain::{
    definition::{Issue, Severity},
    ports::python::{FileReport, Inspector, WorkspaceReport},
};
use notify::{EventKind, RecursiveMode, Watcher};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeSet, HashSet},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

const DEBOUNCE: Duration = Duration::from_millis(100);
const SWEEP: Duration = Duration::from_secs(5);
/// The sweep's period when the kernel does not notify, and when the folder does not exist.
const FAST_SWEEP: Duration = Duration::from_millis(500);
const TOUCH: Duration = Duration::from_secs(600);
/// Questions about a whole folder may take this many times as long as one about a file.
const FOLDER_PATIENCE: u32 = 4;

/// What the follower publishes.
#[derive(Debug)]
pub(crate) struct Published {
    pub reports: watch::Sender<Option<Arc<WorkspaceReport>>>,
    pub current: watch::Sender<Option<Arc<Snapshot>>>,
    pub preload: watch::Sender<BTreeSet<String>>,
}

/// Follows one folder.
pub(crate) struct Follower {
    pub root: Option<PathBuf>,
    pub inspector: Arc<InspectorProcess>,
    pub snapshots: Snapshots,
    pub published: Published,
    /// Modules that need no import ahead.
    pub stdlib: HashSet<String>,
}

#[derive(Deserialize)]
struct Scan {
    files: Vec<Scanned>,
}

#[derive(Deserialize)]
struct Scanned {
    #[serde(flatten)]
    report: FileReport,
    #[serde(default)]
    imports: Vec<String>,
}

#[derive(Deserialize)]
struct Copied {
    version: String,
    path: PathBuf,
}

/// The kernel's notifications about one folder.
struct Notices {
    _watcher: notify::RecommendedWatcher,
    changed: mpsc::Receiver<()>,
    folder: (u64, u64),
}

impl Notices {
    fn of(root: &Path) -> Option<Self> {
        let folder = identity(root)?;
        let (sender, changed) = mpsc::channel(1);
        let base = root.to_owned();
        let is_followed = move |path: &PathBuf| tree::is_followed(path.strip_prefix(&base).unwrap_or(path));
        let handler = move |event: notify::Result<notify::Event>| {
            let is_change = match event {
                // Reading is no change; and reading is what the scan does.
                Ok(event) => {
                    !matches!(event.kind, EventKind::Access(_))
                        && (event.need_rescan() || event.paths.iter().any(&is_followed))
                }
                Err(_) => true,
            };
            if is_change {
                // A full channel has the signal already.
                let _full = sender.try_send(());
            }
        };
        let started = notify::recommended_watcher(handler)
            .and_then(|mut watcher| watcher.watch(root, RecursiveMode::Recursive).map(|()| watcher));
        match started {
            Ok(watcher) => Some(Self { _watcher: watcher, changed, folder }),
            Err(error) => {
                tracing::warn!(%error, "no notifications for the workspace, it is looked at twice a second");
                None
            }
        }
    }
}

fn identity(root: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(root).ok().filter(std::fs::Metadata::is_dir).map(|meta| (meta.dev(), meta.ino()))
}

impl Follower {
    /// Follows until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        let Some(root) = self.root.clone() else {
            self.publish_nothing();
            return std::future::pending().await;
        };
        let mut notices = None::<Notices>;
        let mut seen = None::<Fingerprint>;
        let mut is_told = true;
        let mut has_warned = false;
        let mut touched = Instant::now();
        self.snapshots.remove_abandoned();
        loop {
            match identity(&root) {
                None => {
                    if !has_warned {
                        tracing::warn!(folder = %root.display(), "the workspace folder does not exist, nothing can be run from it");
                        has_warned = true;
                    }
                    (notices, seen) = (None, None);
                    self.publish_nothing();
                }
                Some(folder) => {
                    has_warned = false;
                    if notices.as_ref().is_none_or(|notices| notices.folder != folder) {
                        // Watched before it is looked at: what changes in between is noticed.
                        notices = Notices::of(&root);
                    }
                    let now = tree::fingerprint(root.clone()).await;
                    if is_told || seen.as_ref() != Some(&now) {
                        self.refresh(&root, &now).await;
                        seen = Some(now);
                    }
                }
            }
            if touched.elapsed() > TOUCH {
                self.snapshots.touch();
                touched = Instant::now();
            }
            is_told = match &mut notices {
                Some(notices) => tokio::select! {
                    change = notices.changed.recv() => {
                        sleep(DEBOUNCE).await;
                        while notices.changed.try_recv().is_ok() {}
                        change.is_some()
                    }
                    () = sleep(SWEEP) => false,
                },
                None => {
                    sleep(FAST_SWEEP).await;
                    false
                }
            };
        }
    }

    fn publish_nothing(&mut self) {
        match self.snapshots.empty() {
            Ok(snapshot) => {
                let report = WorkspaceReport { version: snapshot.version.clone(), files: Vec::new() };
                self.publish(snapshot, report);
            }
            Err(error) => tracing::error!(%error, "no empty snapshot can be made"),
        }
    }

    fn publish(&self, snapshot: Arc<Snapshot>, report: WorkspaceReport) {
        self.published.current.send_if_modified(|current| {
            let is_new = current.as_ref() != Some(&snapshot);
            *current = Some(snapshot);
            is_new
        });
        self.published.reports.send_if_modified(|current| {
            let is_new = current.as_deref() != Some(&report);
            if is_new {
                *current = Some(Arc::new(report));
            }
            is_new
        });
    }

    async fn refresh(&mut self, root: &Path, seen: &Fingerprint) {
        let begun = Instant::now();
        let scanned = match self
            .inspector
            .ask::<Scan>(&json!({"op": "scan", "root": root}), FOLDER_PATIENCE)
            .await
        {
            Ok(scan) => scan.files,
            Err(reason) => {
                tracing::warn!(%reason, "the workspace could not be scanned as a whole, its files are read one by one");
                self.scan_one_by_one(root, seen).await
            }
        };
        let snapshot = match self.copy(root, &scanned).await {
            Ok(snapshot) => snapshot,
            Err(reason) => {
                tracing::error!(%reason, "no snapshot of the workspace could be made, the former version runs on");
                let former = self.published.current.borrow().clone();
                match former.map_or_else(|| self.snapshots.empty(), Ok) {
                    Ok(former) => former,
                    Err(error) => {
                        tracing::error!(%error, "no empty snapshot can be made");
                        return;
                    }
                }
            }
        };
        let local: HashSet<&str> = scanned.iter().filter_map(|file| top_level(&file.report.path)).collect();
        // Of a third-party package the top is imported ahead, of the standard library just what is asked for.
        let preload: BTreeSet<String> = scanned
            .iter()
            .flat_map(|file| &file.imports)
            .filter_map(|name| {
                let top = name.split('.').next().unwrap_or(name);
                let wanted = !top.is_empty() && top != "bifrost" && !local.contains(top);
                wanted.then(|| if self.stdlib.contains(top) { name } else { top })
            })
            .map(str::to_owned)
            .collect();
        self.published.preload.send_if_modified(|current| {
            let is_new = *current != preload;
            *current = preload;
            is_new
        });
        let files: Vec<_> = scanned.into_iter().map(|file| file.report).collect();
        tracing::debug!(version = %snapshot.version, files = files.len(), elapsed = ?begun.elapsed(), "workspace read");
        self.publish(Arc::clone(&snapshot), WorkspaceReport { version: snapshot.version.clone(), files });
        drop(snapshot);
        self.snapshots.prune();
    }

    async fn copy(&mut self, root: &Path, scanned: &[Scanned]) -> Result<Arc<Snapshot>, String> {
        let paths: Vec<_> = scanned.iter().map(|file| &file.report.path).collect();
        let question =
            json!({"op": "snapshot", "root": root, "target": self.snapshots.folder(), "paths": paths});
        let Copied { version, path } =
            self.inspector.ask(&question, FOLDER_PATIENCE).await.map_err(|failure| failure.to_string())?;
        if !path.starts_with(self.snapshots.folder()) {
            return Err(format!("the snapshot lies outside of its folder: {}", path.display()));
        }
        let snapshot = Snapshot { version, path };
        let is_current = self.published.current.borrow().as_deref() == Some(&snapshot);
        if !is_current {
            let question = json!({"op": "compile", "path": snapshot.path});
            if let Err(reason) = self.inspector.ask::<serde_json::Value>(&question, FOLDER_PATIENCE).await {
                tracing::warn!(%reason, "the snapshot has no byte-code, its runs start more slowly");
            }
        }
        Ok(self.snapshots.add(snapshot))
    }

    /// The slow way, when a file breaks the inspector: each file is its own request.
    async fn scan_one_by_one(&self, root: &Path, seen: &Fingerprint) -> Vec<Scanned> {
        let mut files = Vec::new();
        for path in seen.python_files() {
            let absolute = root.join(path);
            let broken =
                |message: String| (Vec::new(), vec![Issue { line: 1, message, severity: Severity::Error }]);
            let bytes = match tree::read_bounded(absolute, MAX_SOURCE_BYTES + 1).await {
                Ok(bytes) => bytes,
                // Gone since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    tracing::warn!(%path, %error, "a workspace file cannot be read");
                    continue;
                }
            };
            let (definitions, issues) = match std::str::from_utf8(&bytes) {
                Ok(source) => match self.inspector.inspect(path, source).await {
                    Ok(report) => (report.definitions, report.issues),
                    Err(reason) => broken(format!("this file could not be read: {reason}")),
                },
                Err(_) => broken("this file is not UTF-8".to_owned()),
            };
            let hash = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            let report = FileReport { path: path.to_owned(), hash, definitions, issues };
            files.push(Scanned { report, imports: Vec::new() });
        }
        files
    }
}

/// The name under which `path` is imported from the workspace's root.
fn top_level(path: &str) -> Option<&str> {
    let first = path.split('/').next()?;
    Some(first.strip_suffix(".py").unwrap_or(first))
}
