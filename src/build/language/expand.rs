//! Words of an instruction: split, and with the variables in them replaced.
//!
//! `$x`, `${x}`, `${x:-y}`, `${x-y}`, `${x:+y}`, `${x+y}`, `${x:?y}`, `${x?y}`,
//! `${x#p}`, `${x##p}`, `${x%p}`, `${x%%p}`, `${x/p/y}`, `${x//p/y}`; within single quotes
//! none. A variable that is not there is nothing.

use std::iter::Peekable;
use std::str::Chars;

use crate::build::context::glob::{Shape, matches};
use crate::error::{Error, Result};

/// What a variable is.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// `text` as one word: variables replaced, quotes and escapes taken away.
pub fn word(text: &str, escape: char, lookup: &Lookup<'_>) -> Result<String> {
    let mut reader = Reader {
        letters: text.chars().peekable(),
        escape,
        lookup,
        text,
    };
    reader.until(None)
}

/// `text` as a here-document has it: variables replaced, quotes staying what they are.
pub fn document(text: &str, escape: char, lookup: &Lookup<'_>) -> Result<String> {
    let mut reader = Reader {
        letters: text.chars().peekable(),
        escape,
        lookup,
        text,
    };
    let mut out = String::new();
    while let Some(letter) = reader.letters.next() {
        match letter {
            '$' => out.push_str(&reader.variable()?),
            it if it == escape => match reader.letters.next_if(|next| *next == '$') {
                // What is escaped means itself, and so does what escapes it.
                Some(next) => out.extend([it, next]),
                None => out.push(it),
            },
            it => out.push(it),
        }
    }
    Ok(out)
}

/// The words of `text` as they stand, quotes and escapes left in them.
pub fn split(text: &str, escape: char) -> Vec<&str> {
    let mut words = Vec::new();
    let mut from: Option<usize> = None;
    let mut quote: Option<char> = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match quote {
            None if letter.is_whitespace() => {
                words.extend(from.take().map(|from| &text[from..at]));
                continue;
            }
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            _ if letter == escape && quote != Some('\'') => {
                letters.next();
            }
            _ => {}
        }
        from.get_or_insert(at);
    }
    words.extend(from.map(|from| &text[from..]));
    words
}

struct Reader<'a> {
    letters: Peekable<Chars<'a>>,
    escape: char,
    lookup: &'a Lookup<'a>,
    text: &'a str,
}

impl Reader<'_> {
    /// Up to the letter `end`, which is taken, or to the end of all.
    fn until(&mut self, end: Option<char>) -> Result<String> {
        let mut out = String::new();
        while let Some(letter) = self.letters.next() {
            match letter {
                it if Some(it) == end => return Ok(out),
                '\'' => {
                    loop {
                        match self.letters.next() {
                        Some('\'') => break,
                        Some(it) => out.push(it),
                        None => return Err(self.wrong("unexpected end of statement while looking for matching single-quote")),
                    }
                    }
                }
                '"' => self.quoted(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                it if it == self.escape => match self.letters.next() {
                    Some(next) => out.push(next),
                    // Nothing follows it: it is what it is.
                    None => out.push(it),
                },
                it => out.push(it),
            }
        }
        match end {
            Some(_) => Err(self.wrong("missing '}'")),
            None => Ok(out),
        }
    }

    fn quoted(&mut self, out: &mut String) -> Result<()> {
        loop {
            match self.letters.next() {
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.variable()?),
                Some(it) if it == self.escape => match self.letters.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        out.push(next);
                    }
                    Some(next) => out.extend([it, next]),
                    None => out.push(it),
                },
                Some(it) => out.push(it),
                None => {
                    return Err(self.wrong(
                        "unexpected end of statement while looking for matching double-quote",
                    ));
                }
            }
        }
    }

    /// What stands after a `$`.
    fn variable(&mut self) -> Result<String> {
        if self.letters.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(match name.is_empty() {
                true => "$".to_owned(),
                false => (self.lookup)(&name).unwrap_or_default(),
            });
        }
        let name = self.name();
        if name.is_empty() {
            return Err(self.wrong("bad substitution"));
        }
        let value = (self.lookup)(&name);
        let Some(sign) = self.letters.next() else {
            return Err(self.wrong("missing '}'"));
        };
        match sign {
            '}' => Ok(value.unwrap_or_default()),
            ':' => {
                let Some(sign) = self.letters.next() else {
                    return Err(self.wrong("missing '}'"));
                };
                let value = value.filter(|value| !value.is_empty());
                self.instead(&name, value, sign)
            }
            '-' | '+' | '?' => self.instead(&name, value, sign),
            '#' | '%' => {
                let longest = self.letters.next_if_eq(&sign).is_some();
                let pattern = self.until(Some('}'))?;
                let value = value.unwrap_or_default();
                Ok(cut(&value, &pattern, sign == '#', longest))
            }
            '/' => {
                let all = self.letters.next_if_eq(&'/').is_some();
                let both = self.until(Some('}'))?;
                let (pattern, by) = both.split_once('/').unwrap_or((&both, ""));
                Ok(replace(&value.unwrap_or_default(), pattern, by, all))
            }
            other => Err(self.wrong(format_args!(
                "unsupported modifier ({other}) in substitution"
            ))),
        }
    }

    fn instead(&mut self, name: &str, value: Option<String>, sign: char) -> Result<String> {
        let other = self.until(Some('}'))?;
        match (sign, value) {
            ('-', value) => Ok(value.unwrap_or(other)),
            ('+', value) => Ok(value.map_or(String::new(), |_| other)),
            ('?', Some(value)) => Ok(value),
            ('?', None) if other.is_empty() => {
                Err(Error::usage(format!("{name}: not allowed to be unset")))
            }
            ('?', None) => Err(Error::usage(format!("{name}: {other}"))),
            (sign, _) => Err(self.wrong(format_args!(
                "unsupported modifier (:{sign}) in substitution"
            ))),
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        // One digit or sign is a name of its own, as in a shell.
        if let Some(digit) = self
            .letters
            .next_if(|it| it.is_ascii_digit() || "@*#".contains(*it))
        {
            name.push(digit);
            return name;
        }
        while let Some(letter) = self
            .letters
            .next_if(|it| it.is_ascii_alphanumeric() || *it == '_')
        {
            name.push(letter);
        }
        name
    }

    fn wrong(&self, why: impl std::fmt::Display) -> Error {
        Error::usage(format!("failed to process {:?}: {why}", self.text))
    }
}

/// `value` without what `pattern` is of its beginning or its end.
fn cut(value: &str, pattern: &str, from_start: bool, longest: bool) -> String {
    let mut places: Vec<usize> = value.char_indices().map(|(at, _)| at).collect();
    places.push(value.len());
    // The shortest piece first: growing from the side that is cut.
    if from_start == longest {
        places.reverse();
    }
    for at in places {
        let (head, tail) = value.split_at(at);
        let (piece, left) = if from_start {
            (head, tail)
        } else {
            (tail, head)
        };
        if matches(pattern, piece, Shape::Text) {
            return left.to_owned();
        }
    }
    value.to_owned()
}

/// `value` with the first piece that `pattern` is, or all of them, replaced.
fn replace(value: &str, pattern: &str, by: &str, all: bool) -> String {
    if pattern.is_empty() {
        return value.to_owned();
    }
    let mut out = String::new();
    let mut rest = value;
    'next: while !rest.is_empty() {
        let mut ends: Vec<usize> = rest.char_indices().skip(1).map(|(at, _)| at).collect();
        ends.push(rest.len());
        for end in ends.into_iter().rev() {
            if matches(pattern, &rest[..end], Shape::Text) {
                out.push_str(by);
                rest = &rest[end..];
                if !all {
                    break 'next;
                }
                continue 'next;
            }
        }
        let mut letters = rest.chars();
        out.extend(letters.next());
        rest = letters.as_str();
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".to_owned()),
            "E" => Some(String::new()),
            "P" => Some("/usr/lib/libc.so.6".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced() {
        for (text, wanted) in [
            ("x$A.y", "xa.y"),
            ("${A}b$N", "ab"),
            ("\\$A '$A' \"$A \\\" \\x\"", "$A $A a \" \\x"),
            ("${N:-d}${E:-e}${E-f}${A:-g}", "dea"),
            ("${N:+d}${E:+e}${E+f}${A:+g}", "fg"),
            ("${N:-${A}x}", "ax"),
            ("${A:?no}", "a"),
            (
                "${P#*/}|${P##*/}|${P%.*}|${P%%.*}",
                "usr/lib/libc.so.6|libc.so.6|/usr/lib/libc.so|/usr/lib/libc",
            ),
            (
                "${P/lib/L}|${P//lib/L}|${P//l?b}",
                "/usr/L/libc.so.6|/usr/L/Lc.so.6|/usr//c.so.6",
            ),
            ("100$ $", "100$ $"),
            ("a\\ b", "a b"),
            ("end\\", "end\\"),
        ] {
            assert_eq!(word(text, '\\', &lookup).unwrap(), wanted, "{text}");
        }
        for (text, words) in [
            ("${N:?is missing}", "N: is missing"),
            ("${A", "missing '}'"),
            ("${A:-", "missing '}'"),
            ("${}", "bad substitution"),
            ("${A!x}", "unsupported modifier (!)"),
            ("'a", "matching single-quote"),
            ("\"a", "matching double-quote"),
        ] {
            let error = word(text, '\\', &lookup).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
        assert_eq!(
            document("'$A' \"\\$A\" \\n $", '\\', &lookup).unwrap(),
            "'a' \"\\$A\" \\n $"
        );
    }

    #[test]
    fn words_are_split_at_space_outside_of_quotes() {
        assert_eq!(
            split(" a \"b c\"d  e\\ f 'g h' ", '\\'),
            ["a", "\"b c\"d", "e\\ f", "'g h'"]
        );
        assert!(split("  ", '\\').is_empty());
    }
}
