//! Go's text/template over our [`Value`]s.
//!
//! gotmpl reads the template; it is carried out here, because Podman's rows are
//! structs (unknown fields are errors, `{{.}}` prints `{a b}`), have methods with
//! arguments (`{{.Label "x"}}`), and because errors name the place as Go does:
//! `template: ps:1:13: executing "ps" at <.Foo>: can't evaluate field Foo in …`.

use std::collections::BTreeMap;
use std::rc::Rc;

use gotmpl::TemplateError;
use gotmpl::parse::{
    BranchNode, CommandNode, Expr, ListNode, Node, Number, Parser, PipeNode, Pos, SmolStr,
    TemplateNode,
};

use super::function;
use super::value::Value;
use crate::error::{Error, Result};

/// How deep templates may call each other and nest.
const MAX_DEPTH: usize = 200;

/// A template that has been read.
#[derive(Debug)]
pub struct Template {
    name: String,
    source: String,
    body: ListNode,
    defined: BTreeMap<String, ListNode>,
}

impl Template {
    /// Reads `source`; `name` is the command's, for error messages.
    pub fn parse(name: &str, source: &str) -> Result<Self> {
        let said = |line: usize, message: &str| {
            Error::usage(format!("template: {name}:{line}: {message}"))
        };
        if let Some(line) = broken_string(source) {
            return Err(said(line, "unterminated quoted string"));
        }
        // The parser takes a missing or needless {{end}} for the end of the text:
        // so a mark stands there, which must come out last.
        let marked = format!("{source}{MARK}");
        let read = Parser::new(&marked, "{{", "}}").and_then(Parser::parse);
        let (mut body, defined) = read.map_err(|error| match error {
            TemplateError::Parse { line, message, .. }
            | TemplateError::Lex { line, message, .. } => {
                let lines = source.matches('\n').count() + 1;
                said(line.clamp(1, lines), &in_gos_words(&message))
            }
            other => said(1, &other.to_string()),
        })?;
        if !take_mark(&mut body) {
            let line = source.matches('\n').count() + 1;
            let inside = format!("{body:?}{defined:?}").contains(&format!("{MARK:?}")[1..]);
            return Err(match inside {
                true => said(line, "unexpected EOF"),
                false => said(1, "unexpected {{end}}"),
            });
        }
        let template = Self {
            name: name.to_owned(),
            source: source.to_owned(),
            body,
            defined: defined
                .into_iter()
                .map(|define| (define.name.to_string(), define.body))
                .collect(),
        };
        let bodies = std::iter::once(&template.body).chain(template.defined.values());
        for body in bodies {
            if let Some((pos, unknown)) = unknown_function(body) {
                return Err(said(pos.line, &format!("function {unknown:?} not defined")));
            }
        }
        Ok(template)
    }

    /// Carries it out on `data`.
    pub fn execute(&self, data: &Value) -> Result<String> {
        let mut run = Run {
            template: self,
            variables: vec![("$".into(), data.clone())],
            text: String::new(),
            depth: 0,
        };
        match run.list(&self.body, data) {
            Ok(_) => Ok(run.text),
            Err(message) => Err(Error::usage(message)),
        }
    }

    /// The message of an error at `pos`, where `context` stands.
    fn error(&self, pos: Pos, context: &str, message: &str) -> String {
        let before = &self.source[..pos.offset.min(self.source.len())];
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        format!(
            "template: {name}:{line}:{column}: executing {name:?} at <{context}>: {message}",
            name = self.name
        )
    }
}

/// Stands at the end of what is parsed; no template has it.
const MARK: &str = "\u{10ffff}end";

/// Takes the mark off; false if it is not the last thing there is.
fn take_mark(body: &mut ListNode) -> bool {
    let Some(Node::Text(last)) = body.nodes.last_mut() else {
        return false;
    };
    match last.text.strip_suffix(MARK) {
        Some(text) => {
            last.text = text.into();
            true
        }
        None => false,
    }
}

/// The line on which a quoted string goes on into the next, which the parser
/// lets pass.
fn broken_string(source: &str) -> Option<usize> {
    let bytes = source.as_bytes();
    let (mut at, mut line, mut inside) = (0, 1, false);
    let mut quote = None;
    while at < bytes.len() {
        let rest = &bytes[at..];
        match (quote, rest[0]) {
            (Some(b'"' | b'\''), b'\n') => return Some(line),
            (_, b'\n') => line += 1,
            (Some(b'"' | b'\''), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'\'' | b'`')) if inside => quote = Some(byte),
            (None, b'{') if rest.starts_with(b"{{/*") || rest.starts_with(b"{{- /*") => {
                let end = source[at..].find("*/").map_or(rest.len(), |end| end + 2);
                line += source[at..at + end].matches('\n').count();
                at += end - 1;
                inside = true;
            }
            (None, b'{') if rest.starts_with(b"{{") => {
                inside = true;
                at += 1;
            }
            (None, b'}') if inside && rest.starts_with(b"}}") => {
                inside = false;
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The parser's message as Go words it, where they differ.
fn in_gos_words(message: &str) -> String {
    let character = message
        .strip_prefix("unexpected character: '")
        .and_then(|rest| rest.chars().next());
    match (message, character) {
        ("unterminated string", _) => "unterminated quoted string".to_owned(),
        ("empty command", _) => "missing value for command".to_owned(),
        (_, Some(c)) => format!("bad character U+{:04X} {c:?}", u32::from(c)),
        (message, None) => message.to_owned(),
    }
}

/// Where a list of nodes left off.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'t> {
    template: &'t Template,
    /// The innermost last; a scope is left by cutting it short.
    variables: Vec<(SmolStr, Value)>,
    text: String,
    depth: usize,
}

type Done<T> = std::result::Result<T, String>;

impl Run<'_> {
    fn list(&mut self, list: &ListNode, dot: &Value) -> Done<Flow> {
        for node in &list.nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Done<Flow> {
        match node {
            Node::Text(text) => self.text.push_str(&text.text),
            Node::Action(action) => {
                let value = self.pipe(&action.pipe, dot)?;
                if action.pipe.decl.is_empty() {
                    self.text.push_str(&value.to_string());
                }
            }
            Node::If(branch) => return self.nested(|run| run.choose(branch, dot, false)),
            Node::With(branch) => return self.nested(|run| run.choose(branch, dot, true)),
            Node::Range(branch) => return self.nested(|run| run.range(branch, dot)),
            Node::Template(called) => return self.nested(|run| run.call(called, dot)),
            Node::List(list) => return self.list(list, dot),
            Node::Break(_) => return Ok(Flow::Break),
            Node::Continue(_) => return Ok(Flow::Continue),
            Node::Define(_) => {}
        }
        Ok(Flow::On)
    }

    /// Goes one level deeper; variables made there end there.
    fn nested(&mut self, work: impl FnOnce(&mut Self) -> Done<Flow>) -> Done<Flow> {
        if self.depth >= MAX_DEPTH {
            return Err(format!(
                "template: {}: exceeded maximum template depth ({MAX_DEPTH})",
                self.template.name
            ));
        }
        let scope = self.variables.len();
        self.depth += 1;
        let flow = work(self);
        self.depth -= 1;
        self.variables.truncate(scope);
        flow
    }

    fn choose(&mut self, branch: &BranchNode, dot: &Value, with: bool) -> Done<Flow> {
        let value = self.pipe(&branch.pipe, dot)?;
        if value.is_true() {
            return self.list(&branch.body, if with { &value } else { dot });
        }
        match &branch.else_body {
            Some(body) => self.list(body, dot),
            None => Ok(Flow::On),
        }
    }

    fn range(&mut self, branch: &BranchNode, dot: &Value) -> Done<Flow> {
        let over = self.value(&branch.pipe, dot)?;
        let entries: Vec<(Value, Value)> = match &over {
            Value::List(values) => values
                .iter()
                .enumerate()
                .map(|(i, value)| (Value::Int(i as i64), value.clone()))
                .collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| (Value::text(key), value.clone()))
                .collect(),
            Value::Int(count) => (0..*count)
                .map(|i| (Value::Int(i), Value::Int(i)))
                .collect(),
            Value::Missing | Value::Nil | Value::NilList | Value::NilMap => Vec::new(),
            other => {
                let message = format!("range can't iterate over {other}");
                return Err(self.at(branch.pipe.pos, &pipe_text(&branch.pipe), &message));
            }
        };
        if entries.is_empty() {
            return match &branch.else_body {
                Some(body) => self.list(body, dot),
                None => Ok(Flow::On),
            };
        }
        let scope = self.variables.len();
        for (key, value) in entries {
            match branch.pipe.decl.as_slice() {
                [] => {}
                [one] => self.set(one, value.clone(), branch.pipe.is_assign),
                [first, second, ..] => {
                    self.set(first, key, branch.pipe.is_assign);
                    self.set(second, value.clone(), branch.pipe.is_assign);
                }
            }
            let flow = self.list(&branch.body, &value)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn call(&mut self, called: &TemplateNode, dot: &Value) -> Done<Flow> {
        let data = match &called.pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Missing,
        };
        let template = self.template;
        let Some(body) = template.defined.get(called.name.as_str()) else {
            let context = format!("{{{{template {:?}}}}}", called.name.as_str());
            let message = format!("template {:?} not defined", called.name.as_str());
            return Err(self.at(called.pos, &context, &message));
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$".into(), data.clone())]);
        let flow = self.list(body, &data);
        self.variables = outer;
        flow.map(|_| Flow::On)
    }

    fn set(&mut self, name: &SmolStr, value: Value, assign: bool) {
        let known = self.variables.iter_mut().rev().find(|(n, _)| n == name);
        match known {
            Some((_, slot)) if assign => *slot = value,
            _ => self.variables.push((name.clone(), value)),
        }
    }

    fn pipe(&mut self, pipe: &PipeNode, dot: &Value) -> Done<Value> {
        let value = self.value(pipe, dot)?;
        if let [name] = pipe.decl.as_slice() {
            self.set(name, value.clone(), pipe.is_assign);
        }
        Ok(value)
    }

    fn value(&mut self, pipe: &PipeNode, dot: &Value) -> Done<Value> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Missing))
    }

    /// One command of a pipeline; `piped`, what the one before gave, is its last
    /// argument.
    fn command(&mut self, command: &CommandNode, dot: &Value, piped: Option<Value>) -> Done<Value> {
        let Some((first, rest)) = command.args.split_first() else {
            return Ok(Value::Missing);
        };
        match first {
            Expr::Identifier(pos, name) => self.function(*pos, name, command, dot, piped),
            Expr::Chain(pos, inner, fields) if matches!(**inner, Expr::Identifier(..)) => {
                let Expr::Identifier(at, name) = &**inner else {
                    return Ok(Value::Missing);
                };
                let value = self.function(*at, name, command, dot, piped)?;
                self.fields(value, fields, *pos, &expr_text(first), &[])
            }
            Expr::Field(..) | Expr::Variable(..) | Expr::Chain(..)
                if !rest.is_empty() || piped.is_some() =>
            {
                let mut args = Vec::new();
                for arg in rest {
                    args.push(self.expr(arg, dot)?);
                }
                args.extend(piped);
                self.field_with(first, dot, &args)
            }
            _ if !rest.is_empty() || piped.is_some() => Err(self.at(
                first.pos(),
                &expr_text(first),
                &format!("can't give argument to non-function {}", expr_text(first)),
            )),
            Expr::Nil(pos) => Err(self.at(*pos, "nil", "nil is not a command")),
            _ => self.expr(first, dot),
        }
    }

    fn function(
        &mut self,
        pos: Pos,
        name: &str,
        command: &CommandNode,
        dot: &Value,
        piped: Option<Value>,
    ) -> Done<Value> {
        let context = command_text(command);
        let mut args = Vec::with_capacity(command.args.len());
        for (i, arg) in command.args.iter().skip(1).enumerate() {
            let value = self.expr(arg, dot)?;
            // `and` and `or` stop at the first argument that decides.
            let decides = match name {
                "and" => !value.is_true(),
                "or" => value.is_true(),
                _ => false,
            };
            if decides {
                return Ok(value);
            }
            args.push(value);
            debug_assert_eq!(args.len(), i + 1);
        }
        args.extend(piped);
        function::call(name, &args).map_err(|problem| match problem {
            function::Problem::Count(message) => self.at(pos, name, &message),
            function::Problem::Type(index, wanted, got) => match command.args.get(index + 1) {
                Some(
                    arg @ (Expr::String(..) | Expr::Number(..) | Expr::Bool(..) | Expr::Nil(..)),
                ) => {
                    let text = expr_text(arg);
                    self.at(
                        arg.pos(),
                        &text,
                        &format!("expected {wanted}; found {text}"),
                    )
                }
                arg => {
                    let (pos, text) = match arg {
                        Some(arg) => (arg.pos(), expr_text(arg)),
                        None => (pos, name.to_owned()),
                    };
                    let message = format!("wrong type for value; expected {wanted}; got {got}");
                    self.at(pos, &text, &message)
                }
            },
            function::Problem::Failed(message) => self.at(
                command.pos,
                &context,
                &format!("error calling {name}: {message}"),
            ),
        })
    }

    fn expr(&mut self, expr: &Expr, dot: &Value) -> Done<Value> {
        Ok(match expr {
            Expr::Dot(_) => dot.clone(),
            Expr::Field(..) | Expr::Variable(..) | Expr::Chain(..) => {
                return self.field_with(expr, dot, &[]);
            }
            Expr::Identifier(pos, name) => {
                let alone = CommandNode {
                    pos: *pos,
                    args: vec![expr.clone()],
                };
                return self.function(*pos, name, &alone, dot, None);
            }
            Expr::String(_, text) => Value::text(text),
            Expr::Number(_, Number::Int(number)) => Value::Int(*number),
            Expr::Number(_, Number::Uint(number)) => Value::Uint(*number),
            Expr::Number(_, Number::Float(number)) => Value::Float(*number),
            Expr::Bool(_, value) => Value::Bool(*value),
            Expr::Nil(_) => Value::Nil,
            Expr::Pipe(_, pipe) => return self.value(pipe, dot),
        })
    }

    /// A field, a variable's field or a result's field, called with `args`.
    fn field_with(&mut self, expr: &Expr, dot: &Value, args: &[Value]) -> Done<Value> {
        let context = expr_text(expr);
        match expr {
            Expr::Field(pos, fields) => {
                // Go names the second part's place when there are several.
                let mut pos = *pos;
                if let [first, _, ..] = fields.as_slice() {
                    pos.offset += 1 + first.len();
                }
                self.fields(dot.clone(), fields, pos, &context, args)
            }
            Expr::Variable(pos, name, fields) => {
                let known = self.variables.iter().rev().find(|(n, _)| n == name);
                let Some((_, value)) = known else {
                    let (at, name) = (pos.line, name.as_str());
                    let of = &self.template.name;
                    return Err(format!("template: {of}:{at}: undefined variable {name:?}"));
                };
                self.fields(value.clone(), fields, *pos, &context, args)
            }
            Expr::Chain(pos, inner, fields) => {
                let value = self.expr(inner, dot)?;
                self.fields(value, fields, *pos, &context, args)
            }
            other => self.expr(other, dot),
        }
    }

    fn fields(
        &self,
        mut value: Value,
        fields: &[SmolStr],
        pos: Pos,
        context: &str,
        args: &[Value],
    ) -> Done<Value> {
        for (i, name) in fields.iter().enumerate() {
            let args = if i + 1 == fields.len() { args } else { &[] };
            value = field(&value, name, args).map_err(|message| self.at(pos, context, &message))?;
        }
        Ok(value)
    }

    fn at(&self, pos: Pos, context: &str, message: &str) -> String {
        self.template.error(pos, context, message)
    }
}

/// The field or method `name` of `value` (text/template, evalField).
fn field(value: &Value, name: &str, args: &[Value]) -> Done<Value> {
    match value {
        Value::Missing => Ok(Value::Missing),
        Value::Nil => Err(format!("nil pointer evaluating interface {{}}.{name}")),
        Value::Map(_) | Value::NilMap if !args.is_empty() => {
            Err(format!("{name} is not a method but has arguments"))
        }
        Value::Map(entries) => Ok(entries.get(name).cloned().unwrap_or(Value::Missing)),
        Value::NilMap => Ok(Value::Missing),
        Value::Object(row) => {
            if let Some(result) = row.method(name, args).filter(|_| !args.is_empty()) {
                return result.map_err(|message| format!("error calling {name}: {message}"));
            }
            match row.field(name) {
                Some(_) if !args.is_empty() => Err(format!(
                    "{name} has arguments but cannot be invoked as function"
                )),
                Some(value) => Ok(value),
                None => Err(unknown_field(name, row.type_name())),
            }
        }
        Value::Duration(nanoseconds) if args.is_empty() => {
            of_duration(*nanoseconds, name).ok_or_else(|| unknown_field(name, value.type_name()))
        }
        other => Err(unknown_field(name, other.type_name())),
    }
}

/// A method of Go's time.Duration.
fn of_duration(nanoseconds: i64, name: &str) -> Option<Value> {
    let seconds = nanoseconds as f64 / 1e9;
    Some(match name {
        "Hours" => Value::Float(seconds / 3600.0),
        "Minutes" => Value::Float(seconds / 60.0),
        "Seconds" => Value::Float(seconds),
        "Milliseconds" => Value::Int(nanoseconds / 1_000_000),
        "Microseconds" => Value::Int(nanoseconds / 1_000),
        "Nanoseconds" => Value::Int(nanoseconds),
        "String" => Value::text(Value::Duration(nanoseconds).to_string()),
        _ => return None,
    })
}

fn unknown_field(name: &str, type_name: &str) -> String {
    format!("can't evaluate field {name} in type {type_name}")
}

/// A header row or other plain map, as the data of a template.
pub fn map_of(entries: impl IntoIterator<Item = (String, String)>) -> Value {
    Value::Map(Rc::new(
        entries
            .into_iter()
            .map(|(key, value)| (key, Value::text(value)))
            .collect(),
    ))
}

/// The first function a template names that does not exist.
fn unknown_function(list: &ListNode) -> Option<(Pos, String)> {
    list.nodes.iter().find_map(|node| match node {
        Node::Action(action) => unknown_in_pipe(&action.pipe),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            unknown_in_pipe(&branch.pipe)
                .or_else(|| unknown_function(&branch.body))
                .or_else(|| branch.else_body.as_ref().and_then(unknown_function))
        }
        Node::Template(called) => called.pipe.as_ref().and_then(unknown_in_pipe),
        Node::List(list) => unknown_function(list),
        _ => None,
    })
}

fn unknown_in_pipe(pipe: &PipeNode) -> Option<(Pos, String)> {
    pipe.commands
        .iter()
        .flat_map(|command| &command.args)
        .find_map(unknown_in_expr)
}

fn unknown_in_expr(expr: &Expr) -> Option<(Pos, String)> {
    match expr {
        Expr::Identifier(pos, name) => {
            (!function::NAMES.contains(&name.as_str())).then(|| (*pos, name.to_string()))
        }
        Expr::Pipe(_, pipe) => unknown_in_pipe(pipe),
        Expr::Chain(_, inner, _) => unknown_in_expr(inner),
        _ => None,
    }
}

/// Nodes as Go writes them in messages.
fn pipe_text(pipe: &PipeNode) -> String {
    let mut text = pipe.decl.join(", ");
    if !text.is_empty() {
        text.push_str(if pipe.is_assign { " = " } else { " := " });
    }
    let commands: Vec<String> = pipe.commands.iter().map(command_text).collect();
    text + &commands.join(" | ")
}

fn command_text(command: &CommandNode) -> String {
    let args: Vec<String> = command.args.iter().map(expr_text).collect();
    args.join(" ")
}

fn expr_text(expr: &Expr) -> String {
    let dotted =
        |fields: &[SmolStr]| -> String { fields.iter().map(|field| format!(".{field}")).collect() };
    match expr {
        Expr::Dot(_) => ".".to_owned(),
        Expr::Field(_, fields) => dotted(fields),
        Expr::Variable(_, name, fields) => format!("{name}{}", dotted(fields)),
        Expr::Identifier(_, name) => name.to_string(),
        Expr::String(_, text) => format!("{text:?}"),
        Expr::Number(_, Number::Int(number)) => number.to_string(),
        Expr::Number(_, Number::Uint(number)) => number.to_string(),
        Expr::Number(_, Number::Float(number)) => number.to_string(),
        Expr::Bool(_, value) => value.to_string(),
        Expr::Nil(_) => "nil".to_owned(),
        Expr::Pipe(_, pipe) => format!("({})", pipe_text(pipe)),
        Expr::Chain(_, inner, fields) => match &**inner {
            Expr::Pipe(..) => format!("{}{}", expr_text(inner), dotted(fields)),
            inner => format!("{}{}", expr_text(inner), dotted(fields)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::value::{Row, to_value};

    struct Volume;

    impl Row for Volume {
        fn type_name(&self) -> &str {
            "*types.VolumeListReport"
        }

        fn field(&self, name: &str) -> Option<Value> {
            match name {
                "Name" => Some(Value::text("v1")),
                "Labels" => Some(Value::map([("a", "b")])),
                "Mounts" => Some(Value::texts(["/x", "/y"])),
                "Nothing" => Some(Value::Nil),
                _ => None,
            }
        }

        fn method(&self, name: &str, args: &[Value]) -> Option<std::result::Result<Value, String>> {
            (name == "Label").then(|| {
                Ok(Value::text(match args {
                    [Value::String(key)] if &**key == "a" => "b",
                    _ => "",
                }))
            })
        }

        fn print(&self) -> String {
            "{v1 map[a:b]}".to_owned()
        }

        fn json(&self) -> serde_json::Value {
            serde_json::json!({"Name": "v1", "Tag": "<&>"})
        }
    }

    fn shown(source: &str) -> std::result::Result<String, String> {
        let template = Template::parse("ls", source).map_err(|error| error.to_string())?;
        let data = Value::list([Value::object(Volume)]);
        template.execute(&data).map_err(|error| error.to_string())
    }

    #[test]
    fn templates_are_gos() {
        for (source, text) in [
            ("{{range .}}{{.Name}}\n{{end -}}", "v1\n"),
            ("{{range .}}{{.}}{{end}}", "{v1 map[a:b]}"),
            (
                "{{range .}}{{json .}}{{end}}",
                r#"{"Name":"v1","Tag":"<&>"}"#,
            ),
            (
                "{{range .}}{{.Labels}} {{.Labels.a}} {{.Labels.z}}{{end}}",
                "map[a:b] b <no value>",
            ),
            (r#"{{range .}}{{.Label "a"}}|{{.Label "z"}}{{end}}"#, "b|"),
            (
                r#"{{range .}}{{index .Labels "a"}}|{{index .Labels "zz"}}{{end}}"#,
                "b|",
            ),
            (
                "{{range .}}{{.Mounts}} {{len .Mounts}} {{index .Mounts 1}}{{end}}",
                "[/x /y] 2 /y",
            ),
            (r#"{{range .}}{{join .Mounts ", "}}{{end}}"#, "/x, /y"),
            (
                r#"{{range .}}{{.Name | upper | printf "%q"}}{{end}}"#,
                r#""V1""#,
            ),
            (
                r#"{{range .}}{{pad .Name 2 3}}|{{truncate .Name 1}}|{{title .Name}}{{end}}"#,
                "  v1   |v|V1",
            ),
            (
                r#"{{range .}}{{if eq .Name "v1"}}yes{{else}}no{{end}}{{end}}"#,
                "yes",
            ),
            (
                r#"{{range .}}{{if and .Name (ne .Name "x")}}yes{{end}}{{end}}"#,
                "yes",
            ),
            ("{{range $i, $v := .}}{{$i}}={{$v.Name}}{{end}}", "0=v1"),
            (
                "{{range $v := .}}{{range $k, $w := $v.Labels}}{{$k}}:{{$w}};{{end}}{{end}}",
                "a:b;",
            ),
            ("{{with (index . 0)}}{{.Name}}{{end}}", "v1"),
            (r#"{{range .}}{{join (split "a,b" ",") "-"}}{{end}}"#, "a-b"),
            ("{{range .}}{{.Nothing}}{{end}}", "<nil>"),
            (
                r#"{{printf "%5d|%-4s|%v|%t" 7 "a" (index . 0).Mounts true}}"#,
                "    7|a   |[/x /y]|true",
            ),
            (r#"{{define "x"}}<{{.}}>{{end}}{{template "x" 1}}"#, "<1>"),
            (
                "{{range 3}}{{if eq . 1}}{{continue}}{{end}}{{.}}{{end}}",
                "02",
            ),
            (r#"{{println "a" 1}}{{print "a" 1 2}}"#, "a 1\na1 2"),
            ("{{$x := 1}}{{range .}}{{$x = 2}}{{end}}{{$x}}", "2"),
            ("{{slice (index . 0).Name 0 1}}", "v"),
            (
                "{{not true}} {{lt 1 2}} {{ge 1.5 1.5}} {{le \"a\" \"b\"}}",
                "false true true true",
            ),
        ] {
            assert_eq!(shown(source).as_deref(), Ok(text), "{source}");
        }
    }

    #[test]
    fn errors_are_gos() {
        for (source, message) in [
            (
                "{{range .}}{{.Foo}}\n{{end -}}",
                "template: ls:1:13: executing \"ls\" at <.Foo>: can't evaluate field Foo in type *types.VolumeListReport",
            ),
            (
                "{{range .}}{{.Name.x}}{{end -}}",
                "template: ls:1:18: executing \"ls\" at <.Name.x>: can't evaluate field x in type string",
            ),
            (
                r#"{{range .}}{{.Labels.Label "a"}}{{end}}"#,
                "template: ls:1:20: executing \"ls\" at <.Labels.Label>: Label is not a method but has arguments",
            ),
            (
                "{{foo .Name}}",
                "template: ls:1: function \"foo\" not defined",
            ),
        ] {
            assert_eq!(shown(source).unwrap_err(), message, "{source}");
        }
        assert!(shown("{{.Name").is_err());
    }

    #[test]
    fn serde_structs_are_rows() {
        #[derive(serde::Serialize)]
        #[serde(rename = "x.Row", rename_all = "PascalCase")]
        struct Plain {
            name: &'static str,
        }
        let value = to_value(&Plain { name: "n" }).unwrap();
        let template = Template::parse("x", "{{.Name}}{{.Nope}}").unwrap();
        assert_eq!(
            template.execute(&value).unwrap_err().to_string(),
            "template: x:1:11: executing \"x\" at <.Nope>: can't evaluate field Nope in type x.Row"
        );
    }
}
