//! Rows of figures: printed by a job on one line, gathered and judged by the whole run.

use std::collections::BTreeMap;

/// What one job found.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// `cut`, `kills`, `errors` or `short`
    pub section: String,
    /// which file system or process, and whose programs
    pub name: String,
    /// numbers by name
    pub numbers: BTreeMap<String, usize>,
    /// in words
    pub findings: Vec<String>,
}

impl Row {
    /// A row without numbers.
    pub fn new(section: &str, name: &str) -> Row {
        Row {
            section: section.to_owned(),
            name: name.to_owned(),
            ..Row::default()
        }
    }

    /// Sets a number.
    #[must_use]
    pub fn with(mut self, name: &str, number: usize) -> Row {
        self.numbers.insert(name.to_owned(), number);
        self
    }

    /// A number; 0 if it was never set.
    pub fn number(&self, name: &str) -> usize {
        self.numbers.get(name).copied().unwrap_or(0)
    }

    /// The row on one line for people: what is not zero.
    pub fn line(&self) -> String {
        let numbers: Vec<String> = self
            .numbers
            .iter()
            .filter(|(_, number)| **number > 0)
            .map(|(name, number)| format!("{name} {number}"))
            .collect();
        format!("{}: {}: {}", self.section, self.name, numbers.join(", "))
    }

    /// The row as lines for the run that started the job.
    pub fn lines(&self) -> String {
        let numbers: Vec<String> = self
            .numbers
            .iter()
            .map(|(name, number)| format!("{name}={number}"))
            .collect();
        let mut lines = format!(
            "ROW\t{}\t{}\t{}\n",
            self.section,
            self.name,
            numbers.join(" ")
        );
        for finding in &self.findings {
            lines += &format!("FINDING\t{finding}\n");
        }
        lines
    }

    /// The row in the output of a job.
    pub fn read(output: &str) -> Option<Row> {
        let mut row = None;
        for line in output.lines() {
            let words: Vec<&str> = line.split('\t').collect();
            match words.as_slice() {
                ["ROW", section, name, numbers] => {
                    let mut new = Row::new(section, name);
                    for pair in numbers.split_whitespace() {
                        let (name, number) = pair.split_once('=')?;
                        new.numbers.insert(name.to_owned(), number.parse().ok()?);
                    }
                    row = Some(new);
                }
                ["FINDING", finding] => row.as_mut()?.findings.push((*finding).to_owned()),
                _ => {}
            }
        }
        row
    }
}

/// A table of the rows of a section with these columns, and their sums.
pub fn table(title: &str, rows: &[&Row], columns: &[&str]) -> String {
    let wide = rows.iter().map(|r| r.name.len()).max().unwrap_or(0).max(5);
    let mut out = format!("\n{title:wide$}");
    let width = |column: &str| column.len().max(6);
    for column in columns {
        out += &format!("  {column:>0$}", width(column));
    }
    out += "\n";
    for row in rows {
        out += &format!("{:wide$}", row.name);
        for column in columns {
            out += &format!("  {:>1$}", row.number(column), width(column));
        }
        out += "\n";
    }
    out += &format!("{:wide$}", "total");
    for column in columns {
        let sum: usize = rows.iter().map(|r| r.number(column)).sum();
        out += &format!("  {sum:>0$}", width(column));
    }
    out + "\n"
}
