//! Rates in a Markdown table: each with its share of the limit, and its multiple of the plain loop, in the same run.

use std::time::{Duration, Instant};

/// A number of records and the time that they took.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Number of records.
    pub records: u64,
    /// Wall time.
    pub elapsed: Duration,
}

impl Measured {
    /// `records` from `start` until now.
    pub fn since(start: Instant, records: u64) -> Measured {
        let elapsed = start.elapsed();
        Measured { records, elapsed }
    }

    /// Records per second.
    pub fn per_second(self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Rates of one run. The first row is the limit, the second the plain loop.
#[derive(Debug)]
pub struct Rates {
    unit: &'static str,
    rows: Vec<(String, f64)>,
}

impl Rates {
    /// A table of rates in `unit`, such as `events/s`: first the limit, then the plain loop.
    pub fn new(unit: &'static str, limit: (&str, Measured), plain: (&str, Measured)) -> Rates {
        let rows = [limit, plain].map(|(name, found)| (name.to_owned(), found.per_second()));
        let rows = rows.into();
        Rates { unit, rows }
    }

    /// Adds a row.
    pub fn add(&mut self, name: &str, found: Measured) {
        self.rows.push((name.to_owned(), found.per_second()));
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let (limit, plain) = (self.rows[0].1, self.rows[1].1);
        let row = |(name, rate): &(String, f64)| {
            vec![
                name.clone(),
                thousands(*rate),
                format!("{:.0} %", 100.0 * rate / limit),
                format!("{:.1}", rate / plain),
            ]
        };
        let rows: Vec<Vec<String>> = self.rows.iter().map(row).collect();
        table(
            &["", self.unit, "of the limit", "times the plain loop"],
            &rows,
        )
    }
}

/// A Markdown table; all columns but the first are numbers.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(header[column].chars().count())
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::from("|");
        for (column, cell) in cells.enumerate() {
            let width = widths[column];
            line += &match column {
                0 => format!(" {cell:width$} |"),
                _ => format!(" {cell:>width$} |"),
            };
        }
        line + "\n"
    };
    let mut text = line(&mut header.iter().copied());
    text += "|";
    for (column, width) in widths.iter().enumerate() {
        text += &"-".repeat(width + 1);
        text += if column == 0 { "-|" } else { ":|" };
    }
    text += "\n";
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// A rate with separators: `183,000`.
pub(super) fn thousands(rate: f64) -> String {
    let digits = format!("{rate:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(records: u64) -> Measured {
        let elapsed = Duration::from_secs(2);
        Measured { records, elapsed }
    }

    #[test]
    fn ratios_are_of_the_first_and_second_row() {
        let mut rates = Rates::new(
            "events/s",
            ("drain", found(2_000_000)),
            ("plain", found(8_000)),
        );
        rates.add("ours", found(500_000));
        let expected = "\
|       |  events/s | of the limit | times the plain loop |
|-------|----------:|-------------:|---------------------:|
| drain | 1,000,000 |        100 % |                250.0 |
| plain |     4,000 |          0 % |                  1.0 |
| ours  |   250,000 |         25 % |                 62.5 |
";
        assert_eq!(rates.markdown(), expected);
    }
}
