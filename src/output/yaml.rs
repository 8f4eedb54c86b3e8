//! YAML, as far as `info` prints it: keys in order, texts quoted where they must.

use serde_json::Value;

/// A JSON value as YAML, with keys sorted.
pub fn text(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0);
    text
}

fn write(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in entries {
                indent(text, depth);
                text.push_str(&scalar(key, depth));
                text.push(':');
                member(text, value, depth, depth + 1);
            }
        }
        Value::Array(values) => {
            for value in values {
                indent(text, depth);
                text.push('-');
                let at = text.len();
                member(text, value, depth, depth + 1);
                // The first key of an entry stands beside its dash.
                if value.is_object() && text[at..].starts_with('\n') {
                    let first = at + 1 + 2 * (depth + 1);
                    text.replace_range(at..first, " ");
                }
            }
        }
        _ => {}
    }
}

/// What stands after a key or a dash. Go's YAML does not indent lists.
fn member(text: &mut String, value: &Value, list_depth: usize, depth: usize) {
    match value {
        Value::Object(entries) if entries.is_empty() => text.push_str(" {}\n"),
        Value::Array(values) if values.is_empty() => text.push_str(" []\n"),
        Value::Object(_) => {
            text.push('\n');
            write(text, value, depth);
        }
        Value::Array(_) => {
            text.push('\n');
            write(text, value, list_depth);
        }
        Value::String(string) => {
            text.push(' ');
            text.push_str(&scalar(string, depth));
            text.push('\n');
        }
        other => {
            text.push(' ');
            text.push_str(&other.to_string());
            text.push('\n');
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}

fn scalar(string: &str, depth: usize) -> String {
    if string.contains('\n') {
        let mut text = String::from(if string.ends_with('\n') { "|" } else { "|-" });
        for line in string.lines() {
            text.push('\n');
            if !line.is_empty() {
                indent(&mut text, depth);
                text.push_str(line);
            }
        }
        return text;
    }
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "~"]
        .contains(&string.to_lowercase().as_str());
    if string.is_empty() || is_word || string.parse::<f64>().is_ok() {
        return format!("\"{string}\"");
    }
    let odd_start = string.starts_with(|c: char| "-?:,[]{}#&*!|>'\"%@` ".contains(c));
    let odd = string.contains(": ") || string.contains(" #") || string.ends_with([':', ' ']);
    if odd_start || odd {
        return format!("'{}'", string.replace('\'', "''"));
    }
    string.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_like_gos() {
        let value = serde_json::json!({
            "b": {"list": ["x", "true"], "none": [], "map": {}},
            "a": [{"size": 1, "id": 0}, {"id": 2}],
            "v": "x version 1, commit: none",
            "t": "one\ntwo\n",
            "n": null, "e": "", "u": "1h 2m",
        });
        assert_eq!(
            text(&value),
            "a:\n- id: 0\n  size: 1\n- id: 2\nb:\n  list:\n  - x\n  - \"true\"\n  map: {}\n  none: []\ne: \"\"\nn: null\nt: |\n  one\n  two\nu: 1h 2m\nv: 'x version 1, commit: none'\n"
        );
    }
}
