//! How far a run is, on the last line of a terminal; nothing when standard error is none.

use super::text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal, time::Duration};

/// Parts of the bar.
const STEPS: u64 = 1_000;
const TICK: Duration = Duration::from_millis(120);

/// A spinner that becomes a bar as soon as the run says how far it is.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    is_bar: bool,
}

impl Progress {
    /// Begins to turn.
    #[must_use]
    pub fn start(what: &str) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(STEPS), target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(text::line(what).into_owned());
        bar.enable_steady_tick(TICK);
        Self { bar, is_bar: false }
    }

    /// Shows how far the run is (0 to 1) and what it says about it.
    pub fn at(&mut self, fraction: f64, message: Option<&str>) {
        if !std::mem::replace(&mut self.is_bar, true)
            && let Ok(style) = ProgressStyle::with_template("{bar:24} {percent:>3} % {wide_msg} {elapsed}")
        {
            self.bar.set_style(style.progress_chars("━━╌"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "from 0 to a thousand"
        )]
        self.bar.set_position((fraction.clamp(0.0, 1.0) * STEPS as f64) as u64);
        if let Some(message) = message {
            self.says(message);
        }
    }

    /// Replaces the text beside it.
    pub fn says(&self, text: &str) {
        self.bar.set_message(text::line(text).into_owned());
    }

    /// Writes something else meanwhile.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
