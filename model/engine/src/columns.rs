//! Tables and numbers as text.

/// Rows of cells, padded to the widest of their column; numbers to the right.
#[must_use]
pub fn grid(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let number = |column: usize| {
        let mut cells = rows.iter().skip(1).filter_map(|row| row.get(column)).peekable();
        let digits = |cell: &String| cell.chars().all(|c| c.is_ascii_digit() || c == ',');
        cells.peek().is_some() && cells.all(digits)
    };
    let numbers: Vec<bool> = (0..columns).map(number).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, width), number) in row.iter().zip(&widths).zip(&numbers) {
            if *number {
                line += &format!("{cell:>width$}  ");
            } else {
                line += &format!("{cell:width$}  ");
            }
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// A number with a comma between thousands.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 system`, `2 systems`.
#[must_use]
pub fn count(number: usize, what: &str) -> String {
    format!("{} {what}{}", thousands(number as u64), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = grid(&[row(["name", "states"]), row(["a", "1,000"]), row(["long", "7"])]);
        assert_eq!(text, "name  states\na      1,000\nlong       7\n");
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
