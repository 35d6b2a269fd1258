//! DynamoDB's attribute values, and JSON, which audit entries are hashed in.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

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

/// The way back, for whoever reads the trail.
#[cfg(any(test, feature = "cli"))]
mod back {
    use std::collections::HashMap;

    use aws_sdk_dynamodb::types::AttributeValue;
    use serde_json::{Map, Number, Value};

    /// An attribute as JSON; `None` for sets and bytes, which no entry holds.
    pub(in super::super) fn from_attribute(value: &AttributeValue) -> Option<Value> {
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
    fn from_item(item: &HashMap<String, AttributeValue>) -> Option<Map<String, Value>> {
        item.iter().map(|(key, value)| Some((key.clone(), from_attribute(value)?))).collect()
    }

    fn number(digits: &str) -> Option<Number> {
        let whole = digits.parse::<u64>().map(Number::from).or_else(|_| digits.parse::<i64>().map(Number::from));
        // DynamoDB keeps 38 digits. What does not come through whole would be another number.
        let fraction = || Number::from_f64(digits.parse().ok()?).filter(|number| number.to_string() == digits);
        whole.ok().or_else(fraction)
    }
}

#[cfg(any(test, feature = "cli"))]
pub(super) use back::from_attribute;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn sets_and_bytes_are_nothing_that_an_entry_holds() {
        assert_eq!(from_attribute(&AttributeValue::Ss(vec!["a".to_owned()])), None);
        assert_eq!(from_attribute(&AttributeValue::N("a lot".to_owned())), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|fields| json!(fields)),
            ]
        })
    }

    proptest! {
        /// An entry's hash is taken over JSON and checked over what the table gives back.
        #[test]
        fn what_goes_into_the_table_comes_out_of_it(value in any_json()) {
            prop_assert_eq!(from_attribute(&to_attribute(&value)), Some(value));
        }
    }
}
