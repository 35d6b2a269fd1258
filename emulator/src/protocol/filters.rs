//! `Filter.N.Name` and `Filter.N.Value.M`: values are OR-ed, filters are AND-ed, both case-sensitive.

use std::collections::BTreeMap;

use super::error::ApiError;
use super::query::Query;

/// Values in one request, over all of its filters.
const MAX_VALUES: usize = 200;

/// The filters of one request.
#[derive(Debug, Default, Hash)]
pub(crate) struct Filters(Vec<Filter>);

#[derive(Debug, Default, Hash)]
struct Filter {
    name: String,
    values: Vec<String>,
}

impl Filters {
    /// Reads the filters; a name that is not among `known` is refused.
    pub(crate) fn parse(query: &Query, known: &[&str]) -> Result<Self, ApiError> {
        let mut filters: BTreeMap<u32, Filter> = BTreeMap::new();
        for (key, value) in &query.parameters {
            let Some(rest) = key.strip_prefix("Filter.") else { continue };
            let unknown = || ApiError::unknown_parameter(key);
            let (number, field) = rest.split_once('.').ok_or_else(unknown)?;
            let filter = filters.entry(number.parse().map_err(|_| unknown())?).or_default();
            match field.split_once('.') {
                None if field == "Name" => filter.name.clone_from(value),
                Some(("Value", index)) if index.parse::<u32>().is_ok() => filter.values.push(value.clone()),
                _ => return Err(unknown()),
            }
        }
        for (number, filter) in &filters {
            if filter.name.is_empty() {
                return Err(ApiError::missing_parameter(&format!("Filter.{number}.Name")));
            }
            if !known.contains(&filter.name.as_str()) {
                return Err(ApiError::invalid_filter(&filter.name));
            }
            if filter.values.is_empty() {
                return Err(ApiError::missing_parameter(&format!("Filter.{number}.Value.1")));
            }
        }
        if filters.values().map(|filter| filter.values.len()).sum::<usize>() > MAX_VALUES {
            return Err(ApiError::filter_limit(MAX_VALUES));
        }
        Ok(Self(filters.into_values().collect()))
    }

    /// Whether a row passes; `field` gives the row's value for a filter's name.
    pub(crate) fn admit<'row>(&self, field: impl Fn(&str) -> Option<&'row str>) -> bool {
        self.0.iter().all(|filter| {
            // Whether this service honours EC2's `*` and `?` wildcards is undocumented: a value means itself here.
            field(&filter.name).is_some_and(|value| filter.values.iter().any(|wanted| wanted == value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Filters, String> {
        Filters::parse(&Query::parse("", body.as_bytes()), &["username", "connection-id"]).map_err(|error| error.code)
    }

    fn admits(body: &str, user: Option<&str>, id: &str) -> bool {
        parse(body).unwrap().admit(|name| match name {
            "username" => user,
            _ => Some(id),
        })
    }

    #[test]
    fn values_are_ored_and_filters_are_anded() {
        let users = "Filter.1.Name=username&Filter.1.Value.1=a&Filter.1.Value.2=b";
        assert!(admits(users, Some("b"), "1"));
        assert!(!admits(users, Some("c"), "1"));
        let both = format!("{users}&Filter.2.Name=connection-id&Filter.2.Value.1=2");
        assert!(!admits(&both, Some("a"), "1"));
        assert!(admits(&both, Some("a"), "2"));
    }

    #[test]
    fn values_are_case_sensitive_and_mean_themselves() {
        assert!(!admits("Filter.1.Name=username&Filter.1.Value.1=Alice", Some("alice"), "1"));
        assert!(!admits("Filter.1.Name=username&Filter.1.Value.1=*", Some("alice"), "1"));
        assert!(admits("Filter.1.Name=username&Filter.1.Value.1=*", Some("*"), "1"));
    }

    #[test]
    fn a_row_without_the_field_does_not_pass() {
        assert!(!admits("Filter.1.Name=username&Filter.1.Value.1=a", None, "1"));
    }

    #[test]
    fn a_filter_nobody_documented_is_refused() {
        assert_eq!(parse("Filter.1.Name=status&Filter.1.Value.1=active").unwrap_err(), "InvalidFilter");
        assert_eq!(parse("Filter.1.Name=Username&Filter.1.Value.1=a").unwrap_err(), "InvalidFilter");
    }

    #[test]
    fn half_a_filter_is_refused() {
        assert_eq!(parse("Filter.1.Name=username").unwrap_err(), "MissingParameter");
        assert_eq!(parse("Filter.1.Value.1=a").unwrap_err(), "MissingParameter");
        assert_eq!(parse("Filter.1.Values.1=a").unwrap_err(), "UnknownParameter");
        assert_eq!(parse("Filter.x.Name=a").unwrap_err(), "UnknownParameter");
        assert_eq!(parse("Filter.1=a").unwrap_err(), "UnknownParameter");
    }

    #[test]
    fn two_hundred_values_pass_and_one_more_does_not() {
        let values = |n: usize| {
            (1..=n).fold("Filter.1.Name=username".to_owned(), |all, i| format!("{all}&Filter.1.Value.{i}=u{i}"))
        };
        assert!(parse(&values(200)).is_ok());
        assert_eq!(parse(&values(201)).unwrap_err(), "FilterLimitExceeded");
    }
}
