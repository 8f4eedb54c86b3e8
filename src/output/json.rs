//! JSON in the three shapes Podman prints.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

use crate::error::Result;

/// What listings print (`ps`, `volume ls`): two spaces, `<`, `>` and `&`
/// escaped, and an empty object on three lines, as jsoniter has it.
pub fn list<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Jsoniter::default());
    value.serialize(&mut serializer)?;
    Ok(escape_html(&text(bytes)))
}

/// What `inspect` prints: five spaces, nothing escaped.
pub fn inspect<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    indented(value, 5)
}

/// Indented by `spaces`, nothing escaped.
pub fn indented<T: Serialize + ?Sized>(value: &T, spaces: usize) -> Result<String> {
    let indent = " ".repeat(spaces);
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer)?;
    Ok(text(bytes))
}

/// encoding/json's way to make JSON safe inside HTML. The characters stand in
/// strings only, so the whole text can be replaced in.
pub fn escape_html(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("serde_json writes UTF-8")
}

#[derive(Default)]
struct Jsoniter {
    depth: usize,
    has_value: bool,
}

impl Jsoniter {
    fn line<W: io::Write + ?Sized>(&self, writer: &mut W, depth: usize) -> io::Result<()> {
        writer.write_all(b"\n")?;
        for _ in 0..depth {
            writer.write_all(b"  ")?;
        }
        Ok(())
    }
}

impl Formatter for Jsoniter {
    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        writer.write_all(b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.has_value {
            self.line(writer, self.depth)?;
        }
        writer.write_all(b"]")
    }

    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        self.line(writer, self.depth)
    }

    fn end_array_value<W: io::Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        writer.write_all(b"{")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        if !self.has_value {
            self.line(writer, self.depth)?;
        }
        self.depth -= 1;
        self.line(writer, self.depth)?;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        self.line(writer, self.depth)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object_value<W: io::Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_jsoniters() {
        let value = serde_json::json!([{"a": {}, "b": [], "c": "<x>"}]);
        assert_eq!(
            list(&value).unwrap(),
            "[\n  {\n    \"a\": {\n      \n    },\n    \"b\": [],\n    \"c\": \"\\u003cx\\u003e\"\n  }\n]"
        );
        assert_eq!(list(&serde_json::json!([])).unwrap(), "[]");
        assert_eq!(
            inspect(&serde_json::json!([{"a": {}}])).unwrap(),
            "[\n     {\n          \"a\": {}\n     }\n]"
        );
    }
}
