//! DynamoDB's attribute values, and JSON, which audit entries are hashed in.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value};

/// JSON as an attribute. Numbers keep their digits.
pub(super) fn to_attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(items) => AttributeValue::L(items.iter().map(to_attribute).collect()),
        Value::Object(fields) => {
            AttributeValue::M(fields.iter().map(|(key, value)| (key.clone(), to_attribute(value))).collect())
        }
    }
}

/// An attribute as JSON; `None` for sets and bytes, which no entry holds.
pub(super) fn from_attribute(value: &AttributeValue) -> Option<Value> {
    Some(match value {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::N(digits) => Value::Number(number(digits)?),
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::L(items) => Value::Array(items.iter().map(from_attribute).collect::<Option<_>>()?),
        AttributeValue::M(fields) => Value::Object(from_item(fields)?),
        _ => return None,
    })
}

/// A whole item as JSON.
pub(super) fn from_item(item: &HashMap<String, AttributeValue>) -> Option<Map<String, Value>> {
    item.iter().map(|(key, value)| Some((key.clone(), from_attribute(value)?))).collect()
}

fn number(digits: &str) -> Option<Number> {
    let whole = digits.parse::<u64>().map(Number::from).or_else(|_| digits.parse::<i64>().map(Number::from));
    whole.ok().or_else(|| Number::from_f64(digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_goes_in_comes_out() {
        let entry = json!({
            "subject": "renée@example.com", "seq": 7, "n": -3, "detail": {"names": ["a", "b"], "none": null, "yes": true, "empty": {}, "list": []},
        });
        assert_eq!(from_attribute(&to_attribute(&entry)), Some(entry));
    }
}
