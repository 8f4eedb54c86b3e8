//! Columns, as Go's text/tabwriter sets them for Podman.

/// The least width of a column, its gap included.
const LEAST: usize = 12;
/// The gap between two columns.
const GAP: usize = 2;

/// Sets text whose cells end in tabs and lines in newlines. A column reaches
/// over neighbouring lines that have it; the last cell of a line belongs to none
/// and is not padded.
pub fn align(text: &str) -> String {
    let complete = text.ends_with('\n');
    let mut lines: Vec<Vec<(&str, usize)>> = text
        .split('\n')
        .map(|line| line.split('\t').map(|cell| (cell, 0)).collect())
        .collect();
    if complete {
        lines.pop();
    }
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            let has = |line: &Vec<(&str, usize)>| line.len() > column + 1;
            let length = lines[start..].iter().take_while(|line| has(line)).count();
            let block = &mut lines[start..start + length];
            let widest = block
                .iter()
                .map(|line| line[column].0.chars().count() + GAP);
            let width = widest.max().unwrap_or(0).max(LEAST);
            for line in block {
                line[column].1 = width;
            }
            start += length.max(1);
        }
    }
    let mut set = String::with_capacity(text.len() * 2);
    for (i, line) in lines.iter().enumerate() {
        for (cell, width) in line {
            set.push_str(cell);
            let missing = width.saturating_sub(cell.chars().count());
            set.extend(std::iter::repeat_n(' ', missing));
        }
        if i + 1 < lines.len() || complete {
            set.push('\n');
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_tabwriters() {
        assert_eq!(
            align("DRIVER\tVOLUME NAME\nlocal\tv1\n"),
            "DRIVER      VOLUME NAME\nlocal       v1\n"
        );
        assert_eq!(
            align("A\t\tB\t\naaaaaaaaaaaaa\tx\ty\t\n"),
            "A                          B           \naaaaaaaaaaaaa  x           y           \n"
        );
        assert_eq!(align(""), "");
        assert_eq!(align("alone\nü\tx\n"), "alone\nü           x\n");
    }
}
