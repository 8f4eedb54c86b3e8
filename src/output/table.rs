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

/// The same within `columns`: gaps get narrow first, then what can be said in less is,
/// then columns that few ask for go, and at last the widest cells are cut; never ids.
pub fn fit(text: &str, columns: usize) -> String {
    let set = align(text);
    let is_wide = |line: &str| line.trim_end().chars().count() > columns;
    let header = text.lines().next().unwrap_or_default();
    if !set.lines().any(is_wide) || !header.contains('\t') {
        return set;
    }
    let mut headers: Vec<&str> = header.split('\t').collect();
    let mut lines: Vec<Vec<String>> = text
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect();
    let mut widths = widths_of(&lines);
    for (kind, brief) in BRIEFER {
        if sum(&widths) <= columns {
            break;
        }
        for column in (0..headers.len()).filter(|column| kind.contains(&headers[*column])) {
            for cell in lines.iter_mut().filter_map(|line| line.get_mut(column)) {
                *cell = brief(cell);
            }
        }
        widths = widths_of(&lines);
    }
    for name in LEFT_OUT {
        if let Some(column) = headers.iter().position(|header| *header == name)
            && sum(&widths) > columns
        {
            headers.remove(column);
            for line in lines.iter_mut().filter(|line| line.len() > column) {
                line.remove(column);
            }
            widths = widths_of(&lines);
        }
    }
    for least in [NARROWEST, 4] {
        while sum(&widths) > columns {
            let cuttable = widths.iter_mut().enumerate().filter(|(column, width)| {
                let header = headers.get(*column).copied().unwrap_or_default();
                **width > least && !IDS.contains(&header)
            });
            let wide = cuttable.max_by_key(|(column, width)| {
                let header = headers.get(*column).copied().unwrap_or_default();
                **width as isize - spared(header)
            });
            match wide {
                Some((_, width)) => *width -= 1,
                None => break,
            }
        }
    }
    let mut set = String::with_capacity(text.len());
    for (number, line) in lines.iter().enumerate() {
        let mut row = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let header = headers.get(column).copied().unwrap_or_default();
            // A name of an image tells most at its end.
            let keep = match header {
                "IMAGE" | "REPOSITORY" if number > 0 => Keep::End,
                _ => Keep::Start,
            };
            let cell = cut(cell, width, keep);
            row.push_str(&cell);
            let missing = width + GAP - cell.chars().count().min(width);
            row.extend(std::iter::repeat_n(' ', missing));
        }
        set.push_str(row.trim_end());
        set.push('\n');
    }
    set
}

fn widths_of(lines: &[Vec<String>]) -> Vec<usize> {
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..count).map(width).collect()
}

fn sum(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// What a column of cut cells has at least, while others can be cut.
const NARROWEST: usize = 8;

/// They are typed again, and mean nothing in part.
const IDS: [&str; 3] = ["ID", "CONTAINER ID", "IMAGE ID"];

/// Columns that go before anything else is cut.
const LEFT_OUT: [&str; 2] = ["AVG CPU %", "CPU TIME"];

/// How much wider than the others a column may stay: what is typed again, and what is
/// looked for, is cut last.
fn spared(header: &str) -> isize {
    match header {
        "NAMES" | "VOLUME NAME" => 8,
        "STATUS" | "NAME" => 4,
        "COMMAND" | "COMMENT" | "DIGEST" => -6,
        _ => 0,
    }
}

/// How a cell says the same in less.
type Brief = fn(&str) -> String;

/// Which columns can say the same in less, in the order in which they are asked to.
const BRIEFER: [(&[&str], Brief); 7] = [
    (&["CREATED", "LAST USED", "UPDATED"], age),
    (&["PORTS"], ports),
    (&["IMAGE"], name),
    (&["STATUS"], age),
    (&["SIZE"], |cell| cell.replace("(virtual ", "(")),
    (&["MEM USAGE / LIMIT"], used),
    (&["NET IO", "BLOCK IO"], |cell| cell.replace(" / ", "/")),
];

/// `Up 2 hours`: `Up 2h`
fn age(cell: &str) -> String {
    const SHORT: [(&str, &str); 11] = [
        ("Less than a second", "0s"),
        ("About a minute", "1m"),
        ("About an hour", "1h"),
        ("1 second", "1s"),
        (" seconds", "s"),
        (" minutes", "m"),
        (" hours", "h"),
        (" days", "d"),
        (" weeks", "w"),
        (" months", "mo"),
        (" years", "y"),
    ];
    let mut text = cell.to_owned();
    for (long, short) in SHORT {
        text = text.replace(long, short);
    }
    text
}

/// `0.0.0.0:8080->80/tcp`: `8080->80`
fn ports(cell: &str) -> String {
    cell.replace("0.0.0.0:", "").replace("/tcp", "")
}

/// `docker.io/library/redis:latest`: `redis`, which means the same where it is typed.
fn name(cell: &str) -> String {
    let before = ["docker.io/library/", "docker.io/", "localhost/"];
    let bare = before.iter().find_map(|it| cell.strip_prefix(it));
    let bare = bare.unwrap_or(cell);
    bare.strip_suffix(":latest").unwrap_or(bare).to_owned()
}

/// `1.2MB / 25GB`: `1.2MB`
fn used(cell: &str) -> String {
    let (used, _) = cell.split_once(" / ").unwrap_or((cell, ""));
    used.to_owned()
}

#[derive(Clone, Copy)]
enum Keep {
    Start,
    End,
}

fn cut(cell: &str, width: usize, keep: Keep) -> String {
    let length = cell.chars().count();
    if length <= width {
        return cell.to_owned();
    }
    match keep {
        Keep::End => {
            let end: String = cell.chars().skip(length - width + 1).collect();
            format!("…{end}")
        }
        Keep::Start => {
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
            "ID            IMAGE    COMMAND               NAMES\n\
             0123456789ab  redis:7  redis-server --save…  web\n"
        );
        assert!(
            narrow.lines().all(|line| line.chars().count() <= 50),
            "{narrow}"
        );
        let names = "IMAGE ID\tREPOSITORY\n0123456789ab\tquay.io/a/team/of/ours/server\n";
        assert_eq!(
            fit(names, 30),
            "IMAGE ID      REPOSITORY\n0123456789ab  …/of/ours/server\n"
        );
        // There is an end to it.
        assert!(fit(text, 10).contains("0123456789ab"));
    }

    #[test]
    fn what_can_be_said_in_less_is() {
        let text = "STATUS\tPORTS\tIMAGE\nUp 2 hours\t0.0.0.0:80->80/tcp, 0.0.0.0:81->81/tcp\tx\n";
        assert_eq!(
            fit(text, 32),
            "STATUS      PORTS           IMAGE\nUp 2 hours  80->80, 81->81  x\n"
                .replace("Up 2 hours  ", "Up 2h   ")
                .replace("STATUS      ", "STATUS  ")
        );
        assert_eq!(age("Exited (0) About a minute ago"), "Exited (0) 1m ago");
        assert_eq!(age("3 months ago"), "3mo ago");
        assert_eq!(age("never"), "never");
        assert_eq!(name("docker.io/library/redis:latest"), "redis");
        assert_eq!(name("quay.io/library/redis:7"), "quay.io/library/redis:7");
        let stats = "ID\tCPU TIME\tMEM USAGE / LIMIT\n0123456789ab\t1s\t1MB / 25GB\n";
        assert_eq!(
            fit(stats, 25),
            "ID            MEM USAGE\n0123456789ab  1MB\n"
        );
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
