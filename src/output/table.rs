//! Columns, as Go's text/tabwriter sets them for Podman.

use super::terminal::{Colour, painted as painted_word};

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

/// The same within `columns`: gaps get narrow first, then the widest cells are cut, but
/// never ids.
pub fn fit(text: &str, columns: usize) -> String {
    let set = align(text);
    let is_wide = |line: &str| line.trim_end().chars().count() > columns;
    let header = text.lines().next().unwrap_or_default();
    if !set.lines().any(is_wide) || !header.contains('\t') {
        return set;
    }
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..count).map(width).collect();
    let headers: Vec<&str> = header.split('\t').collect();
    // What is typed again, and what is looked for, is cut last.
    let spared = |column: usize| match headers.get(column) {
        Some(&"NAMES" | &"VOLUME NAME") => 8,
        Some(&"STATUS") => 4,
        Some(&("ID" | "CONTAINER ID" | "IMAGE ID")) => usize::MAX,
        _ => 0,
    };
    while widths.iter().sum::<usize>() + GAP * (count - 1) > columns {
        let columns = widths.iter_mut().enumerate();
        let wide =
            columns.filter(|(column, width)| **width > NARROWEST && spared(*column) < usize::MAX);
        match wide.max_by_key(|(column, width)| width.saturating_sub(spared(*column))) {
            Some((_, width)) => *width -= 1,
            None => break,
        }
    }
    let mut set = String::with_capacity(text.len());
    for line in &lines {
        let mut row = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let cell = cut(
                cell,
                width,
                headers.get(column).copied().unwrap_or_default(),
            );
            row.push_str(&cell);
            let missing = width + GAP - cell.chars().count().min(width);
            row.extend(std::iter::repeat_n(' ', missing));
        }
        set.push_str(row.trim_end());
        set.push('\n');
    }
    set
}

/// What a column of cut cells has at least.
const NARROWEST: usize = 8;

/// A name of an image tells most at its end.
fn cut(cell: &str, width: usize, header: &str) -> String {
    let length = cell.chars().count();
    if length <= width {
        return cell.to_owned();
    }
    match header {
        "IMAGE" | "REPOSITORY" => {
            let end: String = cell.chars().skip(length - width + 1).collect();
            format!("…{end}")
        }
        _ => {
            let start: String = cell.chars().take(width - 1).collect();
            format!("{}…", start.trim_end())
        }
    }
}

/// A table that is set, with what is to be seen at once in colour: the header, and how
/// containers are.
pub fn painted(set: &str) -> String {
    let Some((header, rows)) = set.split_once('\n') else {
        return set.to_owned();
    };
    // The column begins at the same place in every line.
    let status = header.find("STATUS").map(|at| header[..at].chars().count());
    let mut text = painted_word(header, Colour::Bold);
    text.push('\n');
    for line in rows.split_inclusive('\n') {
        let at = status
            .and_then(|status| line.char_indices().nth(status))
            .map(|(at, _)| at);
        let found = at.and_then(|at| {
            let word = line[at..].split([' ', '\n']).next()?;
            let ended_well = line[at..].starts_with("Exited (0)");
            let colour = match word {
                "Up" => Colour::Green,
                "Paused" => Colour::Yellow,
                "Exited" if !ended_well => Colour::Red,
                _ => return None,
            };
            Some((at, word, colour))
        });
        match found {
            Some((at, word, colour)) => {
                text.push_str(&line[..at]);
                text.push_str(&painted_word(word, colour));
                text.push_str(&line[at + word.len()..]);
            }
            None => text.push_str(line),
        }
    }
    text
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

    #[test]
    fn what_is_wide_is_cut_where_it_tells_least() {
        let text = "ID\tIMAGE\tCOMMAND\tNAMES\n\
                    0123456789ab\tdocker.io/library/redis:7\tredis-server --save 60 1\tweb\n";
        // What fits is as it always is.
        assert_eq!(fit(text, 100), align(text));
        let narrow = fit(text, 50);
        assert_eq!(
            narrow,
            "ID            IMAGE           COMMAND        NAMES\n\
             0123456789ab  …brary/redis:7  redis-server…  web\n"
        );
        assert!(
            narrow.lines().all(|line| line.chars().count() <= 50),
            "{narrow}"
        );
        // There is an end to it.
        assert!(fit(text, 10).contains("0123456789ab"));
    }

    #[test]
    fn how_containers_are_is_seen() {
        let text = "ID  STATUS\n1   Up 2 hours\n2   Exited (0) now\n3   Exited (1) now\n";
        assert_eq!(
            painted(text),
            "\x1b[1mID  STATUS\x1b[0m\n1   \x1b[32mUp\x1b[0m 2 hours\n2   Exited (0) now\n\
             3   \x1b[31mExited\x1b[0m (1) now\n"
        );
    }
}
