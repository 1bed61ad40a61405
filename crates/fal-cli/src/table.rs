//! Columns for people.

use std::fmt;

/// Rows whose columns begin below each other. The last column of a row takes what it needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    /// A table that begins so far to the right.
    pub(crate) const fn indented(indent: usize) -> Self {
        Self { rows: Vec::new(), indent }
    }

    pub(crate) fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        self.rows.push(cells.into_iter().map(str::to_owned).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).min(WIDTH_MAX)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = " ".repeat(self.indent);
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            let end = if number + 1 < self.rows.len() { "\n" } else { "" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A longer cell pushes the rest of its row to the right instead of every row.
const WIDTH_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_begin_below_each_other() {
        let mut table = Table::indented(2);
        table.row(["a", "bb", "c"]);
        table.row(["aaaä", "", "c"]);
        table.row(["x".repeat(60).as_str(), "y"]);
        let lines: Vec<String> = table.to_string().lines().map(str::to_owned).collect();
        let pad = |text: &str| format!("  {text:<WIDTH_MAX$}  ");
        assert_eq!(lines[0], pad("a") + "bb  c");
        assert_eq!(lines[1], pad("aaaä") + "    c");
        assert_eq!(lines[2], format!("  {}  y", "x".repeat(60)));
    }
}
