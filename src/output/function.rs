//! The functions of `--format`: Go's own and Podman's.

use std::cmp::Ordering;

use super::value::Value;

/// Every function there is, for the check that a template names no other.
pub const NAMES: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower",
    "lt", "ne", "not", "or", "pad", "print", "printf", "println", "slice", "split", "title",
    "truncate", "upper", "urlquery",
];

/// Why a call came to nothing.
pub enum Problem {
    /// The number of arguments is wrong.
    Count(String),
    /// The argument of this index is not of the type wanted.
    Type(usize, &'static str, String),
    /// The function itself failed.
    Failed(String),
}

type Called = Result<Value, Problem>;

/// Calls `name`.
pub fn call(name: &str, args: &[Value]) -> Called {
    match name {
        "json" => one(name, args).map(|value| Value::text(value.json().to_string())),
        "lower" => Ok(Value::text(text(name, args, 1)?[0].to_lowercase())),
        "upper" => Ok(Value::text(text(name, args, 1)?[0].to_uppercase())),
        "title" => Ok(Value::text(title(&text(name, args, 1)?[0]))),
        "split" => {
            let texts = text(name, args, 2)?;
            Ok(split(&texts[0], &texts[1]))
        }
        "join" => join(args),
        "pad" => {
            let (source, numbers) = text_and_numbers(name, args, 2)?;
            Ok(Value::text(match source.as_str() {
                "" => String::new(),
                _ => format!(
                    "{}{source}{}",
                    " ".repeat(numbers[0]),
                    " ".repeat(numbers[1])
                ),
            }))
        }
        "truncate" => {
            let (source, numbers) = text_and_numbers(name, args, 1)?;
            let end = (0..=numbers[0].min(source.len()))
                .rev()
                .find(|end| source.is_char_boundary(*end));
            Ok(Value::text(&source[..end.unwrap_or(0)]))
        }
        "and" | "or" => match args.last() {
            Some(last) => Ok(last.clone()),
            None => Err(count(name, "at least 1", 0)),
        },
        "not" => one(name, args).map(|value| Value::Bool(!value.is_true())),
        "len" => one(name, args).and_then(length),
        "index" => index(args),
        "slice" => slice(args),
        "eq" => match args {
            [] => Err(count(name, "at least 1", 0)),
            [_] => Err(Problem::Failed(
                "missing argument for comparison".to_owned(),
            )),
            [first, others @ ..] => {
                for other in others {
                    if equal(first, other)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
        },
        "ne" => two(name, args).and_then(|(a, b)| Ok(Value::Bool(!equal(a, b)?))),
        "lt" => compared(name, args, Ordering::is_lt),
        "le" => compared(name, args, Ordering::is_le),
        "gt" => compared(name, args, Ordering::is_gt),
        "ge" => compared(name, args, Ordering::is_ge),
        "html" => Ok(Value::text(gotmpl::html_escape(&joined(args)))),
        "js" => Ok(Value::text(gotmpl::js_escape(&joined(args)))),
        "urlquery" => Ok(Value::text(gotmpl::url_encode(&joined(args)))),
        "print" | "println" | "printf" => printed(name, args),
        "call" => Err(Problem::Failed("call of nil".to_owned())),
        _ => Err(Problem::Failed(format!("{name:?} is not a function"))),
    }
}

fn count(name: &str, wanted: impl std::fmt::Display, got: usize) -> Problem {
    Problem::Count(format!(
        "wrong number of args for {name}: want {wanted} got {got}"
    ))
}

fn one<'a>(name: &str, args: &'a [Value]) -> Result<&'a Value, Problem> {
    match args {
        [value] => Ok(value),
        _ => Err(count(name, 1, args.len())),
    }
}

fn two<'a>(name: &str, args: &'a [Value]) -> Result<(&'a Value, &'a Value), Problem> {
    match args {
        [a, b] => Ok((a, b)),
        _ => Err(count(name, 2, args.len())),
    }
}

fn text(name: &str, args: &[Value], wanted: usize) -> Result<Vec<String>, Problem> {
    if args.len() != wanted {
        return Err(count(name, wanted, args.len()));
    }
    (0..wanted).map(|at| string(args, at)).collect()
}

fn string(args: &[Value], at: usize) -> Result<String, Problem> {
    match &args[at] {
        Value::String(text) => Ok(text.to_string()),
        Value::Missing => Ok(String::new()),
        _ => Err(wrong(args, at, "string")),
    }
}

fn wrong(args: &[Value], at: usize, wanted: &'static str) -> Problem {
    Problem::Type(at, wanted, args[at].type_name().to_owned())
}

fn text_and_numbers(
    name: &str,
    args: &[Value],
    wanted: usize,
) -> Result<(String, Vec<usize>), Problem> {
    if args.len() != wanted + 1 {
        return Err(count(name, wanted + 1, args.len()));
    }
    let numbers = (1..args.len()).map(|at| {
        let number = number(&args[at]).ok_or_else(|| wrong(args, at, "int"))?;
        Ok(usize::try_from(number).unwrap_or(0))
    });
    Ok((string(args, 0)?, numbers.collect::<Result<_, Problem>>()?))
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) | Value::Duration(number) => Some(*number),
        Value::Uint(number) => i64::try_from(*number).ok(),
        _ => None,
    }
}

/// Every word's first letter in upper case, the rest as it is.
fn title(text: &str) -> String {
    let mut inside = false;
    text.chars()
        .flat_map(|c| {
            let first = c.is_alphanumeric() && !inside;
            inside = c.is_alphanumeric() || c == '_';
            let upper = first.then(|| c.to_uppercase().collect::<Vec<_>>());
            upper.unwrap_or_else(|| vec![c])
        })
        .collect()
}

fn split(text: &str, by: &str) -> Value {
    if by.is_empty() {
        return Value::texts(text.chars().map(String::from));
    }
    Value::texts(text.split(by))
}

fn join(args: &[Value]) -> Called {
    let (list, _) = two("join", args)?;
    let by = string(args, 1)?;
    match list {
        Value::List(values) => {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            Ok(Value::text(texts.join(&by)))
        }
        Value::NilList => Ok(Value::text("")),
        _ => Err(wrong(args, 0, "[]string")),
    }
}

fn length(value: &Value) -> Called {
    Ok(Value::Int(match value {
        Value::String(text) => text.len(),
        Value::List(values) => values.len(),
        Value::Map(entries) => entries.len(),
        Value::NilList | Value::NilMap => 0,
        Value::Missing | Value::Nil => {
            return Err(Problem::Failed("len of nil pointer".to_owned()));
        }
        other => {
            return Err(Problem::Failed(format!(
                "len of type {}",
                plain_type(other)
            )));
        }
    } as i64))
}

/// A type's name without the pointer that reflection has gone through.
fn plain_type(value: &Value) -> &str {
    value.type_name().trim_start_matches('*')
}

fn index(args: &[Value]) -> Called {
    let Some((value, keys)) = args.split_first() else {
        return Err(count("index", "at least 1", 0));
    };
    let mut value = value.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Map(entries), Value::String(key)) => match entries.get(&**key) {
                Some(value) => value.clone(),
                // The zero value of the map's elements, which are most often text.
                None if entries.values().all(|v| matches!(v, Value::String(_))) => Value::text(""),
                None => Value::Missing,
            },
            (Value::NilMap, Value::String(_)) => Value::text(""),
            (Value::List(_) | Value::NilList | Value::String(_), _) => {
                let at = number(key).ok_or_else(|| {
                    Problem::Failed(format!(
                        "cannot index slice/array with type {}",
                        key.type_name()
                    ))
                })?;
                element(&value, at).ok_or_else(|| {
                    let kind = match value {
                        Value::String(text) if !text.is_empty() => "string",
                        _ => "slice",
                    };
                    Problem::Failed(format!("reflect: {kind} index out of range"))
                })?
            }
            (Value::Map(_) | Value::NilMap, key) => {
                return Err(Problem::Failed(format!(
                    "value has type {}; should be string",
                    key.type_name()
                )));
            }
            (Value::Missing | Value::Nil, _) => {
                return Err(Problem::Failed("index of untyped nil".to_owned()));
            }
            (other, _) => {
                return Err(Problem::Failed(format!(
                    "can't index item of type {}",
                    other.type_name()
                )));
            }
        };
    }
    Ok(value)
}

fn element(value: &Value, at: i64) -> Option<Value> {
    let at = usize::try_from(at).ok()?;
    match value {
        Value::List(values) => values.get(at).cloned(),
        Value::String(text) => text.as_bytes().get(at).map(|b| Value::Uint((*b).into())),
        _ => None,
    }
}

fn slice(args: &[Value]) -> Called {
    let Some((value, bounds)) = args.split_first() else {
        return Err(count("slice", "at least 1", 0));
    };
    let length = match value {
        Value::String(text) => text.len(),
        Value::List(values) => values.len(),
        Value::NilList => 0,
        other => {
            return Err(Problem::Failed(format!(
                "can't slice item of type {}",
                other.type_name()
            )));
        }
    };
    let mut ends = [0, length];
    for (i, (end, bound)) in ends.iter_mut().zip(bounds).enumerate() {
        let at = number(bound).ok_or_else(|| wrong(args, i + 1, "int"))?;
        *end = usize::try_from(at)
            .ok()
            .filter(|at| *at <= length)
            .ok_or_else(|| Problem::Failed(format!("index out of range: {at}")))?;
    }
    let [start, end] = ends;
    if start > end {
        return Err(Problem::Failed(format!(
            "invalid slice index: {start} > {end}"
        )));
    }
    Ok(match value {
        Value::String(text) => Value::text(String::from_utf8_lossy(&text.as_bytes()[start..end])),
        Value::List(values) => Value::list(values[start..end].iter().cloned()),
        other => other.clone(),
    })
}

fn compared(name: &str, args: &[Value], holds: fn(Ordering) -> bool) -> Called {
    let (a, b) = two(name, args)?;
    Ok(Value::Bool(holds(order(a, b)?)))
}

fn order(a: &Value, b: &Value) -> Result<Ordering, Problem> {
    let as_number = |value: &Value| match value {
        Value::Duration(nanoseconds) => Value::Int(*nanoseconds),
        other => other.clone(),
    };
    let order = match (&as_number(a), &as_number(b)) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Bool(_), Value::Bool(_)) => {
            return Err(Problem::Failed("invalid type for comparison".to_owned()));
        }
        _ => None,
    };
    order.ok_or_else(|| {
        Problem::Failed(format!(
            "incompatible types for comparison: {} and {}",
            plain_type(a),
            plain_type(b)
        ))
    })
}

fn equal(a: &Value, b: &Value) -> Result<bool, Problem> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Missing | Value::Nil, Value::Missing | Value::Nil) => Ok(true),
        (Value::NilList | Value::NilMap, Value::Nil) => Ok(true),
        (Value::Missing | Value::Nil, _) | (_, Value::Missing | Value::Nil) => Ok(false),
        (Value::Object(a), Value::Object(b)) => Ok(a.print() == b.print()),
        _ => order(a, b).map(Ordering::is_eq),
    }
}

fn joined(args: &[Value]) -> String {
    match args {
        [Value::String(text)] => text.to_string(),
        _ => match printed("print", args) {
            Ok(value) => value.to_string(),
            Err(_) => String::new(),
        },
    }
}

/// fmt's Sprint, Sprintln and Sprintf are gotmpl's.
fn printed(name: &str, args: &[Value]) -> Called {
    let data = gotmpl::Value::List(args.iter().map(plain).collect());
    let mut source = format!("{{{{{name}");
    for i in 0..args.len() {
        source.push_str(&format!(" (index . {i})"));
    }
    source.push_str("}}");
    gotmpl::execute(&source, &data)
        .map(Value::text)
        .map_err(|error| Problem::Failed(error.to_string()))
}

fn plain(value: &Value) -> gotmpl::Value {
    match value {
        Value::Missing | Value::Nil => gotmpl::Value::Nil,
        Value::NilList => gotmpl::Value::List([].into()),
        Value::NilMap => gotmpl::Value::Map(Default::default()),
        Value::Bool(value) => gotmpl::Value::Bool(*value),
        Value::Int(value) => gotmpl::Value::Int(*value),
        Value::Uint(value) => gotmpl::Value::Uint(*value),
        Value::Float(value) => gotmpl::Value::Float(*value),
        Value::String(text) => gotmpl::Value::from(&**text),
        Value::List(values) => gotmpl::Value::List(values.iter().map(plain).collect()),
        Value::Map(entries) => gotmpl::Value::from(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), plain(value)))
                .collect::<std::collections::BTreeMap<_, _>>(),
        ),
        Value::Duration(_) => gotmpl::Value::from(value.to_string()),
        Value::Object(row) => gotmpl::Value::from(row.print()),
    }
}
