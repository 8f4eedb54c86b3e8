//! YAML, read as the JSON that it stands for. The one place that knows the parser.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

/// The first document of `text`. The reason it is none is for a person.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
    let value = documents.first().map_or(Ok(Value::Null), value)?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn value(node: &Yaml<'_>) -> Result<Value, String> {
    Ok(match node {
        Yaml::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(is) => Value::Bool(*is),
            Scalar::Integer(number) => Value::from(*number),
            Scalar::FloatingPoint(number) => {
                Number::from_f64(number.into_inner()).map_or(Value::Null, Value::Number)
            }
            Scalar::String(text) => Value::String(text.to_string()),
        },
        Yaml::Sequence(items) => items.iter().map(value).collect::<Result<_, _>>()?,
        Yaml::Mapping(entries) => {
            let entries = entries.iter().map(|(key, item)| {
                let key = match value(key)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                Ok((key, value(item)?))
            });
            Value::Object(entries.collect::<Result<Map<_, _>, String>>()?)
        }
        Yaml::Tagged(_, inner) => value(inner)?,
        Yaml::Representation(text, ..) => Value::String(text.to_string()),
        Yaml::Alias(_) => return Err("an alias of what is not above it".to_owned()),
        Yaml::BadValue => return Err("a value that is none of its type".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_read_as_json() {
        let text = "a: 1\nb: [x, \"2\", true]\nc:\n- d: ~\n  e: |\n    line\n";
        assert_eq!(
            read::<Value>(text).unwrap(),
            serde_json::json!({"a": 1, "b": ["x", "2", true], "c": [{"d": null, "e": "line\n"}]})
        );
        assert_eq!(read::<Value>("{\"a\": [1]}").unwrap()["a"][0], 1);
        assert_eq!(read::<Value>("").unwrap(), Value::Null);
        assert!(read::<Value>("a: [").is_err());
        assert!(read::<Value>("a: *nobody").is_err());
    }
}
