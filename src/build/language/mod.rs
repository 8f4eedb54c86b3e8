//! The language of Containerfiles: lines to instructions, each with its flags, its
//! here-documents and where it stands.
//!
//! Own reading, as what `STEP` lines and an image's history show is an instruction's
//! text to the letter: continuation lines joined with nothing between them, comments and
//! empty lines within it left out.

pub mod expand;
pub mod stages;
pub mod variables;

use crate::error::{Error, Result};

/// Every instruction there is.
pub const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A file of the language, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containerfile {
    /// As errors name it.
    pub name: String,
    /// What takes the meaning from the letter after it: `\`, or what the directive
    /// `escape` says.
    pub escape: char,
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Upper case.
    pub keyword: String,
    /// All of it in one line.
    pub original: String,
    /// Where it begins, from 1.
    pub line: usize,
    /// `--name=value`, in their order.
    pub flags: Vec<String>,
    /// What follows the flags.
    pub rest: String,
    pub heredocs: Vec<Heredoc>,
}

/// `<<EOF` and the lines up to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// Variables in it mean something: its word stands without quotes.
    pub expand: bool,
    /// 0, unless a descriptor is named (`3<<EOF`).
    pub descriptor: u32,
    pub content: String,
    /// Tabs before lines and before the end are taken away (`<<-`).
    pub chomp: bool,
}

impl Instruction {
    /// A list in JSON; none in the shell's form.
    pub fn json(&self) -> Option<Vec<String>> {
        list(&self.rest)
    }

    /// The instruction in another's place, as ONBUILD has it.
    pub fn is(&self, keyword: &str) -> bool {
        self.keyword == keyword
    }

    /// The value of the flag `--name=`.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find_map(|flag| {
            let (key, value) = flag.strip_prefix("--")?.split_once('=')?;
            (key == name).then_some(value)
        })
    }
}

/// A JSON list of strings.
pub fn list(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    match text.starts_with('[') {
        true => serde_json::from_str(text).ok(),
        false => None,
    }
}

/// A place in a file, for errors.
pub struct Place<'a> {
    pub file: &'a str,
    pub line: usize,
    pub text: &'a str,
    /// The part that is wrong: first column and length.
    pub span: (usize, usize),
}

impl Place<'_> {
    /// An error that shows the line and points at what is wrong in it.
    pub fn error(&self, words: impl std::fmt::Display) -> Error {
        let Self {
            file, line, text, ..
        } = self;
        let (at, length) = self.span;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs stay, so that the caret stands below what it points at.
        let before: String = (text.chars().take(at))
            .map(|letter| if letter == '\t' { '\t' } else { ' ' })
            .collect();
        let carets = "^".repeat(length.max(1));
        Error::usage(format!(
            "{file}:{line}: {words}\n {number} | {text}\n {margin} | {before}{carets}"
        ))
    }
}

/// Reads `text`, which errors call `name`.
pub fn parse(name: &str, text: &str) -> Result<Containerfile> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect();
    let mut file = Containerfile {
        name: name.to_owned(),
        escape: directives(name, &lines)?,
        instructions: Vec::new(),
    };
    let mut at = 0;
    while at < lines.len() {
        let first = at;
        let line = lines[at].trim_start();
        at += 1;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut original = String::new();
        let mut piece = line;
        while let Some(cut) = continued(piece, file.escape) {
            original.push_str(cut);
            // Comments and empty lines within count for nothing.
            while lines
                .get(at)
                .is_some_and(|line| is_passed_over(line.trim_start()))
            {
                at += 1;
            }
            piece = lines.get(at).copied().unwrap_or("");
            at += 1;
        }
        original.push_str(piece);
        let place = Place {
            file: name,
            line: first + 1,
            text: lines[first],
            span: (0, 1),
        };
        let mut instruction = instruction(&place, original.trim_end(), file.escape)?;
        if matches!(instruction.keyword.as_str(), "ADD" | "COPY" | "RUN") {
            instruction.heredocs = heredocs(&instruction.rest, file.escape);
        } else if instruction.is("ONBUILD") {
            let word = instruction.rest.split_whitespace().next().unwrap_or("");
            if ["ADD", "COPY", "RUN"].contains(&word.to_ascii_uppercase().as_str()) {
                instruction.heredocs = heredocs(&instruction.rest, file.escape);
            }
        }
        for heredoc in &mut instruction.heredocs {
            loop {
                let Some(line) = lines.get(at).filter(|_| at < last(&lines)) else {
                    return Err(place.whole().error(format_args!(
                        "unterminated heredoc: no line says {}",
                        heredoc.name
                    )));
                };
                at += 1;
                let line = match heredoc.chomp {
                    true => line.trim_start_matches('\t'),
                    false => line,
                };
                if line == heredoc.name {
                    break;
                }
                heredoc.content.push_str(line);
                heredoc.content.push('\n');
            }
        }
        file.instructions.push(instruction);
    }
    Ok(file)
}

impl<'a> Place<'a> {
    /// The same, pointing at the first word.
    fn whole(&self) -> Place<'a> {
        let indent = self.text.len() - self.text.trim_start().len();
        let word = self.text.trim_start();
        let length = word.find(char::is_whitespace).unwrap_or(word.len());
        Place {
            span: (
                self.text[..indent].chars().count(),
                word[..length].chars().count(),
            ),
            ..*self
        }
    }
}

/// How many lines there are: what follows the last newline is none if it is empty.
fn last(lines: &[&str]) -> usize {
    match lines.last() {
        Some(&"") => lines.len() - 1,
        _ => lines.len(),
    }
}

fn is_passed_over(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

/// The line without the mark at its end that the next one belongs to it.
fn continued(line: &str, escape: char) -> Option<&str> {
    line.trim_end_matches([' ', '\t']).strip_suffix(escape)
}

/// `# escape=` in the comments at the head, each of which is a directive until one is
/// none.
fn directives(name: &str, lines: &[&str]) -> Result<char> {
    let mut escape = None;
    for (at, line) in lines.iter().enumerate() {
        let Some(comment) = line.trim_start().strip_prefix('#') else {
            break;
        };
        let Some((key, value)) = comment.split_once('=') else {
            break;
        };
        let key = key.trim().to_ascii_lowercase();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            break;
        }
        if key != "escape" {
            continue;
        }
        let place = Place {
            file: name,
            line: at + 1,
            text: line,
            span: (0, line.chars().count()),
        };
        if escape.is_some() {
            return Err(place.error("only one escape parser directive can be used"));
        }
        escape = match value.trim() {
            "\\" => Some('\\'),
            "`" => Some('`'),
            other => {
                return Err(place.error(format_args!("invalid ESCAPE '{other}'. Must be ` or \\")));
            }
        };
    }
    Ok(escape.unwrap_or('\\'))
}

/// One instruction of its text in one line.
fn instruction(place: &Place<'_>, original: &str, escape: char) -> Result<Instruction> {
    let end = original.find(char::is_whitespace).unwrap_or(original.len());
    let word = &original[..end];
    let keyword = word.to_ascii_uppercase();
    if !KEYWORDS.contains(&keyword.as_str()) {
        let error = place
            .whole()
            .error(format_args!("unknown instruction: {word:?}"));
        return Err(match crate::id::near(&keyword, KEYWORDS) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error,
        });
    }
    let (flags, rest) = flags(original[end..].trim(), escape);
    if rest.is_empty() {
        return Err(place
            .whole()
            .error(format_args!("{keyword} requires at least one argument")));
    }
    Ok(Instruction {
        keyword,
        original: original.to_owned(),
        line: place.line,
        flags,
        rest,
        heredocs: Vec::new(),
    })
}

/// An instruction of its line alone, as ONBUILD and `--env`-like flags have them.
pub fn parse_line(name: &str, line: &str, number: usize, escape: char) -> Result<Instruction> {
    let place = Place {
        file: name,
        line: number,
        text: line,
        span: (0, 1),
    };
    instruction(&place, line.trim(), escape)
}

/// The flags at the head of `text`, and what follows them. `--` ends them.
fn flags(text: &str, escape: char) -> (Vec<String>, String) {
    let mut flags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest.to_owned());
        }
        let mut word = String::new();
        let mut quote: Option<char> = None;
        let mut letters = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, letter)) = letters.next() {
            match quote {
                None if letter.is_whitespace() => {
                    end = at;
                    break;
                }
                None if letter == '"' || letter == '\'' => quote = Some(letter),
                Some(open) if letter == open => quote = None,
                _ if letter == escape && quote != Some('\'') => {
                    word.extend(letters.next().map(|(_, next)| next));
                }
                _ => word.push(letter),
            }
        }
        rest = &rest[end..];
        if word == "--" {
            return (flags, rest.trim_start().to_owned());
        }
        flags.push(word);
    }
}

/// The here-documents that a line announces. Within quotes there is none.
fn heredocs(line: &str, escape: char) -> Vec<Heredoc> {
    let mut found = Vec::new();
    if list(line).is_some() {
        return found;
    }
    for word in crate::build::language::expand::split(line, escape) {
        let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Some(rest) = word[digits..].strip_prefix("<<") else {
            continue;
        };
        let (chomp, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        // `<<<` is the shell's own.
        if rest.is_empty() || rest.starts_with('<') {
            continue;
        }
        let name: String = rest
            .chars()
            .filter(|letter| !matches!(letter, '"' | '\'') && *letter != escape)
            .collect();
        if name.is_empty()
            || !name
                .chars()
                .all(|it| it.is_alphanumeric() || "_-.".contains(it))
        {
            continue;
        }
        found.push(Heredoc {
            expand: name == rest,
            name,
            descriptor: word[..digits].parse().unwrap_or(0),
            content: String::new(),
            chomp,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Instruction> {
        parse("Containerfile", text).unwrap().instructions
    }

    #[test]
    fn lines_are_joined_with_nothing_between() {
        let all = parsed(
            "# comment\n\nFROM busybox\nRUN echo a \\\n  # said\n\n  && echo b \\ \n&& c\n  user  x\n",
        );
        let originals: Vec<&str> = all.iter().map(|it| it.original.as_str()).collect();
        assert_eq!(
            originals,
            ["FROM busybox", "RUN echo a   && echo b && c", "user  x"]
        );
        assert_eq!(
            (all[2].keyword.as_str(), all[2].rest.as_str()),
            ("USER", "x")
        );
        assert_eq!(all.iter().map(|it| it.line).collect::<Vec<_>>(), [3, 4, 9]);
    }

    #[test]
    fn flags_stand_before_the_rest() {
        let all =
            parsed("RUN --mount=type=bind,src=\"a b\" --network=none -- --x y\nCOPY --from=0 a b");
        assert_eq!(
            all[0].flags,
            ["--mount=type=bind,src=a b", "--network=none"]
        );
        assert_eq!(all[0].rest, "--x y");
        assert_eq!(all[1].flag("from"), Some("0"));
        assert_eq!(all[1].flag("chown"), None);
    }

    #[test]
    fn heredocs_belong_to_their_instruction() {
        let all = parsed(
            "RUN <<EOF cat - <<-'B' > /x\na $b\nEOF\n\t\tc\n\tB\nCOPY <<\"E\" <<F /d/\n1\nE\n2\nF\nRUN echo '<<G' <<<x\nUSER a",
        );
        let docs = &all[0].heredocs;
        assert_eq!(docs[0].content, "a $b\n");
        assert!(docs[0].expand && !docs[1].expand && docs[1].chomp);
        assert_eq!(docs[1].content, "c\n");
        assert!(!all[1].heredocs[0].expand && all[1].heredocs[1].expand);
        assert!(all[2].heredocs.is_empty());
        assert_eq!(all[3].keyword, "USER");
    }

    #[test]
    fn the_escape_may_be_another() {
        let file = parse("f", "# syntax=x\n# escape=`\nFROM a\nRUN b `\n c\\\nUSER x").unwrap();
        assert_eq!(file.escape, '`');
        assert_eq!(file.instructions[1].original, "RUN b  c\\");
    }

    #[test]
    fn what_is_wrong_is_shown() {
        for (text, words) in [
            (
                "FROM a\n  RUNN b",
                "Containerfile:2: unknown instruction: \"RUNN\"\n 2 |   RUNN b\n   |   ^^^^",
            ),
            (
                "FROM",
                "Containerfile:1: FROM requires at least one argument",
            ),
            ("RUN <<X\na\n", "unterminated heredoc: no line says X"),
            ("# escape=x\nFROM a", "invalid ESCAPE 'x'"),
        ] {
            let error = parse("Containerfile", text).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let error = parse("Containerfile", "FROM a\nCPOY a b").unwrap_err();
        assert_eq!(error.hint_line(), Some("did you mean COPY?"));
    }

    /// Text of pieces that mean something, in any order.
    #[test]
    fn no_text_stops_the_reader() {
        let pieces = [
            "FROM", " ", "\n", "\\", "\\\n", "#", "<<", "E", "\"", "'", "--", "=", "[", "]", "RUN",
            "COPY", "$", "{", "}", ":-", "`", "\t", "\r\n", "ü", "\u{feff}", "escape", "ONBUILD",
            ",", "-", "0",
        ];
        crate::id::odd::texts(&pieces, 24, 20_000, |text| {
            if let Ok(file) = parse("f", text) {
                for instruction in &file.instructions {
                    assert!(KEYWORDS.contains(&instruction.keyword.as_str()));
                    assert!(!instruction.original.contains('\n'), "{text:?}");
                    // What was read is read again alike.
                    if instruction.heredocs.is_empty()
                        && let Ok(again) =
                            parse_line("f", &instruction.original, instruction.line, file.escape)
                    {
                        assert_eq!(&again, instruction, "{text:?}");
                    }
                    let lookup = |_: &str| Some("v".to_owned());
                    let _ = super::expand::word(&instruction.rest, file.escape, &lookup);
                }
            }
        });
    }
}
