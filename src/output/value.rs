//! Values as Go's templates see them.
//!
//! A template of `--format` looks at Go values: structs with a type's name, maps,
//! slices, nil pointers. Each prints and tests in its own way, so they are told
//! apart here. A row comes from any `Serialize` struct ([`to_value`]), or is a
//! [`Row`] that works its fields out only when they are asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use jiff::Timestamp;
use serde::ser::{self, Serialize};

use super::human;
use super::unused::{self, Unused};
use crate::error::Error;

/// A Go value.
#[derive(Clone)]
pub enum Value {
    /// Nothing at all: a map's missing key. Prints `<no value>`.
    Missing,
    /// A nil pointer or interface. Prints `<nil>`.
    Nil,
    /// A nil slice: `[]`, in JSON `null`.
    NilList,
    /// A nil map: `map[]`, in JSON `null`.
    NilMap,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// Go's time.Duration, in nanoseconds: a number, which prints as `1m30s`.
    Duration(i64),
    String(Rc<str>),
    List(Rc<[Value]>),
    Map(Rc<BTreeMap<String, Value>>),
    Object(Rc<dyn Row>),
}

/// A Go struct: fields and methods by name.
pub trait Row {
    /// Its type in error messages: `containers.psReporter`.
    fn type_name(&self) -> &str;

    /// The field or method without arguments `name`; `None` if there is none.
    fn field(&self, name: &str) -> Option<Value>;

    /// The method `name` with arguments; `None` if there is no such method.
    fn method(&self, _name: &str, _args: &[Value]) -> Option<Result<Value, String>> {
        None
    }

    /// How `{{.}}` prints it.
    fn print(&self) -> String;

    /// What `{{json .}}` and `--format json` make of it.
    fn json(&self) -> serde_json::Value;
}

impl Value {
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::String(text.as_ref().into())
    }

    pub fn list(values: impl IntoIterator<Item = Value>) -> Self {
        Self::List(values.into_iter().collect())
    }

    pub fn texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::list(texts.into_iter().map(Self::text))
    }

    /// A `map[string]string`.
    pub fn map<K: Into<String>, V: AsRef<str>>(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(Rc::new(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), Self::text(value)))
                .collect(),
        ))
    }

    pub fn object(row: impl Row + 'static) -> Self {
        Self::Object(Rc::new(row))
    }

    pub fn time(at: Timestamp) -> Self {
        Self::object(Time(Some(at)))
    }

    /// Whether `if` takes it for true (text/template, IsTrue).
    pub fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Nil | Self::NilList | Self::NilMap => false,
            Self::Bool(value) => *value,
            Self::Int(value) | Self::Duration(value) => *value != 0,
            Self::Uint(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::List(values) => !values.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
            Self::Object(_) => true,
        }
    }

    /// The name of its type in error messages.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Missing | Self::Nil => "nil",
            Self::NilList | Self::List(_) => "[]string",
            Self::NilMap | Self::Map(_) => "map[string]string",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Float(_) => "float64",
            Self::Duration(_) => "time.Duration",
            Self::String(_) => "string",
            Self::Object(row) => row.type_name(),
        }
    }

    /// The value as encoding/json would write it.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Missing | Self::Nil | Self::NilList | Self::NilMap => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) | Self::Duration(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => {
                (*value as i64).into()
            }
            Self::Float(value) => (*value).into(),
            Self::String(text) => text.as_ref().into(),
            Self::List(values) => values.iter().map(Self::json).collect(),
            Self::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.clone(), value.json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Self::Object(row) => row.json(),
        }
    }
}

/// As fmt's `%v`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("<no value>"),
            Self::Nil => f.write_str("<nil>"),
            Self::NilList => f.write_str("[]"),
            Self::NilMap => f.write_str("map[]"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Duration(value) => f.write_str(&human::go_duration(*value)),
            Self::String(text) => f.write_str(text),
            Self::List(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i > 0 { " " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("map[")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}:{value}", if i > 0 { " " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Object(row) => f.write_str(&row.print()),
        }
    }
}

/// Go's time.Time; `None` is its zero, the year 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Option<Timestamp>);

/// The seconds of Go's zero time.
const ZERO_SECONDS: i64 = -62_135_596_800;

impl Time {
    /// Seconds since 1970, as `.Unix` gives.
    pub fn seconds(self) -> i64 {
        self.0.map_or(ZERO_SECONDS, Timestamp::as_second)
    }

    /// RFC 3339 with as many digits as it has, as encoding/json writes it.
    pub fn rfc3339(self) -> String {
        let Some(at) = self.0 else {
            return "0001-01-01T00:00:00Z".to_owned();
        };
        let zoned = at.to_zoned(jiff::tz::TimeZone::system());
        let zone = match zoned.offset().seconds() {
            0 => "Z".to_owned(),
            _ => zoned.strftime("%:z").to_string(),
        };
        format!("{}{}{zone}", zoned.strftime("%Y-%m-%dT%H:%M:%S"), part(at))
    }
}

/// As time.Time's String.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = self.0 else {
            return f.write_str("0001-01-01 00:00:00 +0000 UTC");
        };
        let zoned = at.to_zoned(jiff::tz::TimeZone::system());
        write!(
            f,
            "{}{}{}",
            zoned.strftime("%Y-%m-%d %H:%M:%S"),
            part(at),
            zoned.strftime(" %z %Z")
        )
    }
}

/// The fraction of a second without trailing zeros, with its point.
fn part(at: Timestamp) -> String {
    match at.subsec_nanosecond() {
        0 => String::new(),
        nanoseconds => format!(".{nanoseconds:09}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

impl Time {
    /// Go's time.Time.Format: the layout is how Go writes 2006-01-02T15:04:05.
    pub fn format(self, layout: &str) -> String {
        let zoned = match (self.0, Timestamp::from_second(ZERO_SECONDS)) {
            (Some(at), _) => at.to_zoned(jiff::tz::TimeZone::system()),
            (None, Ok(zero)) => zero.to_zoned(jiff::tz::TimeZone::UTC),
            (None, Err(_)) => return layout.to_owned(),
        };
        by_layout(&zoned, layout)
    }
}

fn by_layout(zoned: &jiff::Zoned, layout: &str) -> String {
    let mut text = String::new();
    let mut rest = layout;
    'next: while let Some(c) = rest.chars().next() {
        for (part, format) in LAYOUT {
            if let Some(after) = rest.strip_prefix(part) {
                text.push_str(&zoned.strftime(format).to_string());
                rest = after;
                continue 'next;
            }
        }
        text.push(c);
        rest = &rest[c.len_utf8()..];
    }
    text
}

/// Go's parts of a layout as strftime(3) has them; a longer one before those it
/// begins with.
const LAYOUT: &[(&str, &str)] = &[
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("2006", "%Y"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("Z07:00", "%:z"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("_2", "%e"),
];

/// In JSON its RFC 3339 text.
impl Serialize for Time {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.rfc3339())
        } else {
            serializer.serialize_newtype_struct(TIME, &(self.seconds(), self.nanoseconds()))
        }
    }
}

impl Time {
    fn nanoseconds(self) -> i32 {
        self.0.map_or(0, Timestamp::subsec_nanosecond)
    }
}

impl Row for Time {
    fn type_name(&self) -> &str {
        "time.Time"
    }

    fn field(&self, name: &str) -> Option<Value> {
        let zone = match self.0 {
            Some(_) => jiff::tz::TimeZone::system(),
            None => jiff::tz::TimeZone::UTC,
        };
        let at = self
            .0
            .or_else(|| Timestamp::from_second(ZERO_SECONDS).ok())?;
        let zoned = at.to_zoned(zone);
        let is_utc = zoned.offset().seconds() == 0;
        let number = |number: i64| Some(Value::Int(number));
        match name {
            "Unix" => number(self.seconds()),
            "UnixMilli" => number(at.as_millisecond()),
            "UnixMicro" => number(at.as_microsecond()),
            // Of years far away it is what of the number fits, as in Go.
            "UnixNano" => number(at.as_nanosecond() as i64),
            "Nanosecond" => number(self.nanoseconds().into()),
            "YearDay" => number(zoned.day_of_year().into()),
            "Local" => Some(Value::object(*self)),
            "UTC" => Some(Value::object(Utc(at))),
            "Location" => Some(Value::text(if is_utc { "UTC" } else { "Local" })),
            "IsDST" => {
                let zone = zoned.time_zone().to_offset_info(at);
                Some(Value::Bool(zone.dst().is_dst()))
            }
            "GoString" => Some(Value::text(format!(
                "time.Date({}, time.{}, {}, {}, {}, {}, {}, time.{})",
                zoned.year(),
                zoned.strftime("%B"),
                zoned.day(),
                zoned.hour(),
                zoned.minute(),
                zoned.second(),
                self.nanoseconds(),
                if is_utc { "UTC" } else { "Local" }
            ))),
            "IsZero" => Some(Value::Bool(self.0.is_none())),
            "String" => Some(Value::text(self.to_string())),
            "Year" => number(zoned.year().into()),
            "Month" => Some(Value::text(zoned.strftime("%B").to_string())),
            "Weekday" => Some(Value::text(zoned.strftime("%A").to_string())),
            "Day" => number(zoned.day().into()),
            "Hour" => number(zoned.hour().into()),
            "Minute" => number(zoned.minute().into()),
            "Second" => number(zoned.second().into()),
            _ => None,
        }
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        match (name, args) {
            ("Format", [Value::String(layout)]) => Some(Ok(Value::text(self.format(layout)))),
            _ => None,
        }
    }

    fn print(&self) -> String {
        self.to_string()
    }

    fn json(&self) -> serde_json::Value {
        self.rfc3339().into()
    }
}

/// A time as it is in Greenwich.
struct Utc(Timestamp);

impl Row for Utc {
    fn type_name(&self) -> &str {
        "time.Time"
    }

    /// What does not depend on the place is the time's own.
    fn field(&self, name: &str) -> Option<Value> {
        let zoned = self.0.to_zoned(jiff::tz::TimeZone::UTC);
        let number = |number: i64| Some(Value::Int(number));
        match name {
            "String" => Some(Value::text(self.print())),
            "Year" => number(zoned.year().into()),
            "Month" => Some(Value::text(zoned.strftime("%B").to_string())),
            "Weekday" => Some(Value::text(zoned.strftime("%A").to_string())),
            "Day" => number(zoned.day().into()),
            "Hour" => number(zoned.hour().into()),
            "Minute" => number(zoned.minute().into()),
            "Second" => number(zoned.second().into()),
            "YearDay" => number(zoned.day_of_year().into()),
            "Location" => Some(Value::text("UTC")),
            _ => Time(Some(self.0)).field(name),
        }
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        match (name, args) {
            ("Format", [Value::String(layout)]) => {
                let zoned = self.0.to_zoned(jiff::tz::TimeZone::UTC);
                Some(Ok(Value::text(by_layout(&zoned, layout))))
            }
            _ => None,
        }
    }

    fn print(&self) -> String {
        let zoned = self.0.to_zoned(jiff::tz::TimeZone::UTC);
        format!(
            "{}{} +0000 UTC",
            zoned.strftime("%Y-%m-%d %H:%M:%S"),
            part(self.0)
        )
    }

    fn json(&self) -> serde_json::Value {
        let zoned = self.0.to_zoned(jiff::tz::TimeZone::UTC);
        format!("{}{}Z", zoned.strftime("%Y-%m-%dT%H:%M:%S"), part(self.0)).into()
    }
}

/// A slice or map that Go leaves nil when it is empty: `null` in JSON, but `[]`
/// or `map[]` in a template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NilIfEmpty<T>(pub T);

impl<T> Serialize for NilIfEmpty<T>
where
    T: Serialize,
    for<'a> &'a T: IntoIterator,
{
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let empty = (&self.0).into_iter().next().is_none();
        if empty && serializer.is_human_readable() {
            serializer.serialize_none()
        } else if empty {
            serializer.serialize_newtype_struct(NIL, &self.0)
        } else {
            self.0.serialize(serializer)
        }
    }
}

const TIME: &str = "time.Time";
const NIL: &str = "nil";
const DURATION: &str = "time.Duration";

/// A struct made by serde: its name and fields are those the derive gives, so
/// `#[serde(rename = "define.Driver", rename_all = "PascalCase")]` names them.
#[derive(Clone)]
struct Struct {
    name: &'static str,
    fields: Vec<Field>,
}

#[derive(Clone)]
struct Field {
    name: &'static str,
    value: Value,
    /// Left out of JSON (`skip_serializing_if`), but there for a template.
    hidden: bool,
}

impl Row for Struct {
    fn type_name(&self) -> &str {
        self.name
    }

    fn field(&self, name: &str) -> Option<Value> {
        // Fields have other letters in JSON: `Id` is ID, `lockNumber` LockNumber.
        let mut fields = self.fields.iter();
        let exact = self.fields.iter().find(|field| field.name == name);
        exact
            .or_else(|| fields.find(|field| field.name.eq_ignore_ascii_case(name)))
            .map(|field| match unused::field(self.name, field.name) {
                Some(Unused::Is(zero)) if field.hidden => zero,
                _ => field.value.clone(),
            })
            .or_else(|| match unused::field(self.name, name)? {
                Unused::Is(value) => Some(value),
                Unused::Called(name) => self.field(name),
                Unused::Itself => Some(Value::object(self.clone())),
            })
    }

    fn print(&self) -> String {
        let mut text = String::from("{");
        for (i, field) in self.fields.iter().enumerate() {
            if i > 0 {
                text.push(' ');
            }
            text.push_str(&field.value.to_string());
        }
        text.push('}');
        text
    }

    fn json(&self) -> serde_json::Value {
        self.fields
            .iter()
            .filter(|field| !field.hidden)
            .map(|field| (field.name.to_owned(), field.value.json()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// Any serialisable value as a template sees it.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, Error> {
    value
        .serialize(Maker)
        .map_err(|problem| Error::other(problem.0))
}

/// Why a value cannot be shown.
#[derive(Debug)]
struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

impl ser::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Makes [`Value`]s. It says that it is not human-readable, by which [`Time`]
/// and [`NilIfEmpty`] know it from JSON.
struct Maker;

type Made = Result<Value, Problem>;

impl ser::Serializer for Maker {
    type Ok = Value;
    type Error = Problem;
    type SerializeSeq = ListMaker;
    type SerializeTuple = ListMaker;
    type SerializeTupleStruct = ListMaker;
    type SerializeTupleVariant = ListMaker;
    type SerializeMap = MapMaker;
    type SerializeStruct = StructMaker;
    type SerializeStructVariant = StructMaker;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Made {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Made {
        Ok(Value::Int(value.into()))
    }

    fn serialize_i16(self, value: i16) -> Made {
        Ok(Value::Int(value.into()))
    }

    fn serialize_i32(self, value: i32) -> Made {
        Ok(Value::Int(value.into()))
    }

    fn serialize_i64(self, value: i64) -> Made {
        Ok(Value::Int(value))
    }

    fn serialize_u8(self, value: u8) -> Made {
        Ok(Value::Uint(value.into()))
    }

    fn serialize_u16(self, value: u16) -> Made {
        Ok(Value::Uint(value.into()))
    }

    fn serialize_u32(self, value: u32) -> Made {
        Ok(Value::Uint(value.into()))
    }

    fn serialize_u64(self, value: u64) -> Made {
        Ok(Value::Uint(value))
    }

    fn serialize_f32(self, value: f32) -> Made {
        Ok(Value::Float(value.into()))
    }

    fn serialize_f64(self, value: f64) -> Made {
        Ok(Value::Float(value))
    }

    fn serialize_char(self, value: char) -> Made {
        Ok(Value::text(value.to_string()))
    }

    fn serialize_str(self, value: &str) -> Made {
        Ok(Value::text(value))
    }

    fn serialize_bytes(self, value: &[u8]) -> Made {
        Ok(Value::list(
            value.iter().map(|byte| Value::Uint((*byte).into())),
        ))
    }

    fn serialize_none(self) -> Made {
        Ok(Value::Nil)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Made {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Made {
        Ok(Value::Nil)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Made {
        Ok(Value::object(Struct {
            name,
            fields: Vec::new(),
        }))
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Made {
        Ok(Value::text(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Made {
        let inner = value.serialize(Maker)?;
        Ok(match (name, inner) {
            (NIL, Value::Map(_)) => Value::NilMap,
            (NIL, _) => Value::NilList,
            (DURATION, Value::Int(nanoseconds)) => Value::Duration(nanoseconds),
            (TIME, Value::List(parts)) => match parts.as_ref() {
                [Value::Int(ZERO_SECONDS), _] => Value::object(Time(None)),
                [Value::Int(seconds), Value::Int(nanoseconds)] => Value::object(Time(
                    i32::try_from(*nanoseconds)
                        .ok()
                        .and_then(|nanoseconds| Timestamp::new(*seconds, nanoseconds).ok()),
                )),
                _ => Value::Nil,
            },
            (_, inner) => inner,
        })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Made {
        let entry = (variant.to_owned(), value.serialize(Maker)?);
        Ok(Value::Map(Rc::new([entry].into())))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ListMaker, Problem> {
        Ok(ListMaker(Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<ListMaker, Problem> {
        Ok(ListMaker(Vec::new()))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<ListMaker, Problem> {
        Ok(ListMaker(Vec::new()))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<ListMaker, Problem> {
        Ok(ListMaker(Vec::new()))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<MapMaker, Problem> {
        Ok(MapMaker::default())
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<StructMaker, Problem> {
        Ok(StructMaker {
            name,
            fields: Vec::new(),
        })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<StructMaker, Problem> {
        self.serialize_struct(name, 0)
    }
}

struct ListMaker(Vec<Value>);

/// The four kinds of sequence that serde tells apart are one to Go.
macro_rules! list {
    ($($kind:ident $method:ident),+) => {$(
        impl ser::$kind for ListMaker {
            type Ok = Value;
            type Error = Problem;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
                self.0.push(value.serialize(Maker)?);
                Ok(())
            }

            fn end(self) -> Made {
                Ok(Value::List(self.0.into()))
            }
        }
    )+};
}
list!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

#[derive(Default)]
struct MapMaker {
    entries: BTreeMap<String, Value>,
    key: String,
}

impl ser::SerializeMap for MapMaker {
    type Ok = Value;
    type Error = Problem;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Problem> {
        self.key = key.serialize(Maker)?.to_string();
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        let key = std::mem::take(&mut self.key);
        self.entries.insert(key, value.serialize(Maker)?);
        Ok(())
    }

    fn end(self) -> Made {
        Ok(Value::Map(Rc::new(self.entries)))
    }
}

struct StructMaker {
    name: &'static str,
    fields: Vec<Field>,
}

macro_rules! fields {
    ($($kind:ident),+) => {$(
        impl ser::$kind for StructMaker {
            type Ok = Value;
            type Error = Problem;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Problem> {
                self.fields.push(Field {
                    name,
                    value: value.serialize(Maker)?,
                    hidden: false,
                });
                Ok(())
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), Problem> {
                self.fields.push(Field {
                    name,
                    value: Value::Nil,
                    hidden: true,
                });
                Ok(())
            }

            fn end(self) -> Made {
                Ok(Value::object(Struct {
                    name: self.name,
                    fields: self.fields,
                }))
            }
        }
    )+};
}
fields!(SerializeStruct, SerializeStructVariant);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    #[serde(rename = "x.Row", rename_all = "PascalCase")]
    struct Sample {
        name: String,
        labels: BTreeMap<String, String>,
        none: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hidden: Option<u32>,
        empty: NilIfEmpty<Vec<u32>>,
        at: Time,
    }

    #[test]
    fn structs_print_as_go_prints_them() {
        let value = to_value(&Sample {
            name: "n".into(),
            labels: [("b".into(), "2".into()), ("a".into(), "1".into())].into(),
            none: None,
            hidden: None,
            empty: NilIfEmpty(vec![]),
            at: Time(None),
        })
        .unwrap();
        assert_eq!(
            value.to_string(),
            "{n map[a:1 b:2] <nil> <nil> [] 0001-01-01 00:00:00 +0000 UTC}"
        );
        assert_eq!(
            value.json().to_string(),
            r#"{"Name":"n","Labels":{"a":"1","b":"2"},"None":null,"Empty":null,"At":"0001-01-01T00:00:00Z"}"#
        );
    }
}
