//! How a listing is printed: a table, a template of the user's, or JSON.

use super::value::{Row, Value};
use super::{Output, json, table, template};
use crate::error::Result;

/// What a listing command prints and how it was asked to.
pub struct Listing<'a> {
    /// The template's name in error messages: the command's last word (`ps`, `ls`).
    pub command: &'a str,
    /// The table it prints when `--format` is not given: `{{.ID}}\t{{.Names}}`.
    pub columns: &'a str,
    /// The header of each field that a table may show.
    pub headers: &'a [(&'a str, &'a str)],
    /// `--format`
    pub format: Option<&'a str>,
    /// Not `--noheading`.
    pub heading: bool,
}

impl Listing<'_> {
    /// Whether JSON is asked for: `json`, `{{json}}`, `{{json .}}`.
    pub fn is_json(&self) -> bool {
        self.format.is_some_and(asks_json)
    }

    /// Whether the format names `field`, for what is costly to find out.
    pub fn asks_for(&self, field: &str) -> bool {
        self.format.unwrap_or(self.columns).contains(field)
    }

    /// Prints the rows.
    pub fn print<R: Row + 'static>(&self, output: &mut Output, rows: Vec<R>) -> Result<()> {
        self.print_values(output, rows.into_iter().map(Value::object).collect())
    }

    /// Prints rows that are values already.
    pub fn print_values(&self, output: &mut Output, rows: Vec<Value>) -> Result<()> {
        if self.is_json() {
            output.line(json::list(&Value::list(rows).json())?);
            return Ok(());
        }
        let rows = Value::list(rows);
        match self.format {
            None => self.table(output, self.columns, &rows),
            Some(format) => match format.strip_prefix("table ") {
                Some(columns) => self.table(output, &cells(columns), &rows),
                None => {
                    let shown = parse(self.command, format)?.execute(&rows)?;
                    output.text(&shown);
                    Ok(())
                }
            },
        }
    }

    fn table(&self, output: &mut Output, columns: &str, rows: &Value) -> Result<()> {
        let template = parse(self.command, columns)?;
        let mut text = String::new();
        if self.heading {
            let headers = self
                .headers
                .iter()
                .map(|(field, header)| ((*field).to_owned(), (*header).to_owned()));
            text = template.execute(&Value::list([template::map_of(headers)]))?;
        }
        text.push_str(&template.execute(rows)?);
        match self.format {
            // What somebody asked for is given whole.
            Some(_) => output.text(&table::align(&text)),
            None => output.table(&text),
        }
        Ok(())
    }
}

/// Whether a `--format` asks for JSON of the whole.
pub fn asks_json(format: &str) -> bool {
    let format = format.trim();
    if format == "json" {
        return true;
    }
    let inner = format
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"));
    inner.is_some_and(|inner| inner.trim() == "json")
}

/// The columns of a table of the user's: what a space parts is a column, as in Podman.
fn cells(columns: &str) -> String {
    columns.replace(' ', "\t")
}

/// Prints each of `values` by a template, as `inspect --format` does.
pub fn print_each(
    output: &mut Output,
    command: &str,
    format: &str,
    values: Vec<Value>,
) -> Result<()> {
    let values = Value::list(values);
    match format.strip_prefix("table ") {
        // There is no header to show.
        Some(columns) => {
            let shown = parse(command, &cells(columns))?.execute(&values)?;
            output.text(&table::align(&shown));
        }
        None => output.text(&parse(command, format)?.execute(&values)?),
    }
    Ok(())
}

/// What `info --format` and `version --format` make of one value.
pub fn one(command: &str, format: &str, value: &Value) -> Result<String> {
    either(command, format, str::to_owned)?.execute(value)
}

/// The template of a format that is for one value after the other.
pub fn template(command: &str, format: &str) -> Result<template::Template> {
    either(command, format, str::to_owned)
}

/// The template of a row, repeated for all.
fn parse(command: &str, format: &str) -> Result<template::Template> {
    either(command, format, |format| match ranges_itself(format) {
        true => format.to_owned(),
        false => format!("{{{{range .}}}}{format}{{{{end -}}}}"),
    })
}

/// Whether a format begins with `{{range .}}`: then it is for the whole list.
fn ranges_itself(format: &str) -> bool {
    let action = format
        .strip_prefix("{{")
        .and_then(|rest| rest.split_once("}}"));
    action.is_some_and(|(action, _)| action.split_whitespace().eq(["range", "."]))
}

/// Podman takes `\t` and `\n` for a tab and a newline and ends the text in one,
/// unless the template is sound only without (`{{printf "a\n"}}`).
fn either(
    command: &str,
    format: &str,
    dress: impl Fn(&str) -> String,
) -> Result<template::Template> {
    let plain = ended(format.replace("\\n", "\n").replace("\\t", "\t"));
    template::Template::parse(command, &dress(&plain))
        .or_else(|_| template::Template::parse(command, &dress(format)))
}

fn ended(mut format: String) -> String {
    if !format.ends_with('\n') {
        format.push('\n');
    }
    format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_in_many_ways() {
        for yes in ["json", " json ", "{{json}}", "{{ json }}"] {
            assert!(asks_json(yes), "{yes}");
        }
        for no in [
            "",
            "{{json .}}",
            "{{json .Name}}",
            "table json",
            "{{.Json}}",
        ] {
            assert!(!asks_json(no), "{no}");
        }
    }

    #[test]
    fn escapes_are_taken_when_they_can_be() {
        let rows = Value::list([Value::map([("Name", "n")])]);
        for (format, text) in [
            (r"{{.Name}}\tx", "n\tx\n"),
            (r"{{.Name}}\n", "n\n"),
            (r#"{{printf "%s\n" .Name}}"#, "n\n"),
            ("  {{.Name}} x", "  n x\n"),
            ("{{range .}}{{.Name}}{{end}}", "n\n"),
            ("", "\n"),
        ] {
            let shown = parse("ls", format).unwrap().execute(&rows).unwrap();
            assert_eq!(shown, text, "{format}");
        }
    }
}
