//! Writes the exposition format for what is looked up and not counted.

use bifrost_domain::metric::Metric;
use std::fmt::Write as _;

/// Lines so far.
pub(super) struct Text(String);

impl Text {
    pub(super) const fn new() -> Self {
        Self(String::new())
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// A metric with its values, each with the values of the metric's labels; nothing when there are none.
    pub(super) fn metric(&mut self, metric: &Metric, values: impl IntoIterator<Item = (Vec<String>, f64)>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        let _ = writeln!(self.0, "# HELP {} {}", metric.name, metric.help);
        let _ = writeln!(self.0, "# TYPE {} {}", metric.name, metric.kind.as_str());
        for (labels, value) in values {
            let named: Vec<String> = metric
                .labels
                .iter()
                .zip(labels)
                .map(|((name, _), value)| format!("{name}=\"{}\"", escape(&value)))
                .collect();
            let labels = if named.is_empty() { String::new() } else { format!("{{{}}}", named.join(",")) };
            let _ = writeln!(self.0, "{}{labels} {value}", metric.name);
        }
        self.0.push('\n');
    }

    /// A metric without labels.
    pub(super) fn value(&mut self, metric: &Metric, value: Option<f64>) {
        self.metric(metric, value.map(|value| (Vec::new(), value)));
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::metric::{Kind, Process};

    #[test]
    fn labels_are_escaped_and_what_is_not_known_is_not_there() {
        let metric = |name, labels| Metric {
            name,
            kind: Kind::Gauge,
            labels,
            process: Process::Both,
            help: "what it is",
        };
        let mut text = Text::new();
        text.metric(&metric("a", &[("x", ""), ("y", "")]), [(vec!["q\"\\\n".into(), "2".into()], 1.5)]);
        text.value(&metric("b", &[]), Some(7.0));
        text.value(&metric("c", &[]), None);
        assert_eq!(
            text.into_string(),
            "# HELP a what it is\n# TYPE a gauge\na{x=\"q\\\"\\\\\\n\",y=\"2\"} 1.5\n\n\
             # HELP b what it is\n# TYPE b gauge\nb 7\n\n"
        );
    }
}
