//! Values that are lists: one line of comma-separated fields, as Go's
//! encoding/csv reads it for pflag's `StringSlice` flags and for `--mount`.

use crate::error::{Error, Result};

/// The fields of `line`. A field may stand in double quotes, where a comma is a
/// comma and two quotes are one. Nothing follows the first line, as in Podman.
pub fn fields(line: &str) -> Result<Vec<String>, String> {
    let line = line.split('\n').next().unwrap_or("");
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let (field, end) = match line[at..].strip_prefix('"') {
            Some(_) => quoted(line, at)?,
            None => bare(line, at)?,
        };
        fields.push(field);
        match end {
            Some(next) => at = next,
            None => return Ok(fields),
        }
    }
}

/// The fields of every value of a flag that may be given more than once. `flag` is as
/// pflag shows it: `--cap-add`, `-p, --publish`.
pub fn all(flag: &str, values: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for value in values {
        let fields = fields(value).map_err(|why| {
            Error::usage(format!(
                "invalid argument {value:?} for {flag:?} flag: {why}"
            ))
        })?;
        all.extend(fields);
    }
    Ok(all)
}

/// The field that begins at `at`, and where the next one does.
fn bare(line: &str, at: usize) -> Result<(String, Option<usize>), String> {
    let rest = &line[at..];
    let end = rest.find(',');
    let field = &rest[..end.unwrap_or(rest.len())];
    match field.find('"') {
        Some(quote) => Err(format!(
            "parse error on line 1, column {}: bare \" in non-quoted-field",
            at + quote + 1
        )),
        None => Ok((field.to_owned(), end.map(|end| at + end + 1))),
    }
}

/// The quoted field whose first quote is at `at`, and where the next field begins.
fn quoted(line: &str, at: usize) -> Result<(String, Option<usize>), String> {
    let mut field = String::new();
    let mut from = at + 1;
    loop {
        let Some(quote) = line[from..].find('"').map(|quote| from + quote) else {
            return Err(format!(
                "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                line.len() + 1
            ));
        };
        field.push_str(&line[from..quote]);
        match line.as_bytes().get(quote + 1) {
            None => return Ok((field, None)),
            Some(b',') => return Ok((field, Some(quote + 2))),
            Some(b'"') => {
                field.push('"');
                from = quote + 2;
            }
            Some(_) => {
                return Err(format!(
                    "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                    quote + 1
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_encoding_csv() {
        for (line, wanted) in [
            ("", vec![]),
            ("a", vec!["a"]),
            ("a,b", vec!["a", "b"]),
            ("a,", vec!["a", ""]),
            (",", vec!["", ""]),
            ("a, b", vec!["a", " b"]),
            (r#""a,b",c"#, vec!["a,b", "c"]),
            (r#""a""b""#, vec![r#"a"b"#]),
            (r#""""#, vec![""]),
            ("a\nb", vec!["a"]),
            ("é,ü", vec!["é", "ü"]),
        ] {
            assert_eq!(fields(line).unwrap(), wanted, "{line:?}");
        }
        for (line, why) in [
            (
                "a\"b",
                "parse error on line 1, column 2: bare \" in non-quoted-field",
            ),
            (
                "\"chown",
                "parse error on line 1, column 7: extraneous or missing \" in quoted-field",
            ),
            (
                "\"a\"b",
                "parse error on line 1, column 3: extraneous or missing \" in quoted-field",
            ),
        ] {
            assert_eq!(fields(line).unwrap_err(), why, "{line:?}");
        }
    }

    #[test]
    fn a_bad_list_names_its_flag() {
        assert_eq!(
            all("--cap-add", &["a\"b".into()]).unwrap_err().to_string(),
            "invalid argument \"a\\\"b\" for \"--cap-add\" flag: \
             parse error on line 1, column 2: bare \" in non-quoted-field"
        );
    }
}
