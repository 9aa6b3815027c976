//! Columns of text.

use super::{Paint, text};

/// Space between columns.
const GAP: usize = 2;
/// A column is never cut below this.
const NARROWEST: usize = 12;

/// Rows under headings. On a terminal a row is one line: the widest column gives way.
#[derive(Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; its texts may come from anywhere.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.iter().map(|cell| text::line(cell).into_owned()).collect());
    }

    /// The table as text, within `columns` when it is shown on a terminal.
    #[must_use]
    pub fn render(&self, paint: Paint, columns: Option<usize>) -> String {
        let mut widths: Vec<usize> = self.headings.iter().map(|heading| text::width(heading)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(text::width(cell));
            }
        }
        if let Some(columns) = columns {
            let gaps = GAP * widths.len().saturating_sub(1);
            while widths.iter().sum::<usize>() + gaps > columns {
                let Some(widest) = widths.iter_mut().max() else { break };
                if *widest <= NARROWEST {
                    break;
                }
                *widest -= 1;
            }
        }
        let mut out = String::new();
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        out.push_str(&paint.bold(&line(&headings, &widths)));
        out.push('\n');
        for row in &self.rows {
            out.push_str(&line(row, &widths));
            out.push('\n');
        }
        out
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut out = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let cell = text::cut(cell, *width);
        let pad = width.saturating_sub(text::width(&cell)) + GAP;
        out.push_str(&cell);
        out.extend(std::iter::repeat_n(' ', pad));
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_fit() {
        let mut table = Table::new(&["NAME", "DESCRIPTION"]);
        table.row(["漢字", "wide letters"]);
        table.row(["plain", "a description that is much longer than any terminal is wide\u{1b}[2J"]);
        let text = table.render(Paint::none(), Some(30));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME   DESCRIPTION");
        assert_eq!(lines[1], "漢字   wide letters");
        assert!(lines[2].starts_with("plain  a description") && lines[2].ends_with('…'), "{text}");
        assert!(lines.iter().all(|line| text::width(line) <= 30), "{text}");
        let whole = table.render(Paint::none(), None);
        assert!(whole.contains("is wide\\u{1b}[2J"), "{whole}");
    }
}
