//! The parameters of one request.

use std::collections::BTreeMap;

use super::error::ApiError;

/// The only version of the EC2 API.
const VERSION: &str = "2016-11-15";

/// Parameters of signing in the query string; no signature is checked here.
const SIGNING: [&str; 8] = [
    "AWSAccessKeyId",
    "Expires",
    "SecurityToken",
    "Signature",
    "SignatureMethod",
    "SignatureVersion",
    "Timestamp",
    "Version",
];

/// A request as sent: `Action`, and everything else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pub(crate) action: String,
    pub(crate) parameters: BTreeMap<String, String>,
    version: Option<String>,
    repeated: Option<String>,
}

impl Query {
    /// Reads the query string of the address and the body, in that order. Never fails: what is wrong with a request
    /// is said by [`check`](Self::check), after the request has been logged.
    pub(crate) fn parse(address: &str, body: &[u8]) -> Self {
        let mut query = Self::default();
        let pairs = form_urlencoded::parse(address.as_bytes()).chain(form_urlencoded::parse(body));
        for (name, value) in pairs {
            match name.as_ref() {
                "Action" => query.action = value.into_owned(),
                "Version" => query.version = Some(value.into_owned()),
                _ => {
                    let name = name.into_owned();
                    if query.parameters.insert(name.clone(), value.into_owned()).is_some() {
                        query.repeated = Some(name);
                    }
                }
            }
        }
        query
    }

    /// Refuses a request with another version, or with parameters that the action does not have: a misspelt one
    /// must not pass unnoticed.
    pub(crate) fn check(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.version.as_deref() {
            None => return Err(ApiError::missing_parameter("Version")),
            Some(VERSION) => {}
            Some(other) => return Err(ApiError::no_such_version(other)),
        }
        if let Some(name) = &self.repeated {
            return Err(ApiError::repeated_parameter(name));
        }
        let is_known = |name: &str| {
            known.iter().any(|known| match known.strip_suffix('.') {
                Some(list) => name.strip_prefix(list).is_some_and(|rest| rest.starts_with('.')),
                None => name == *known,
            }) || SIGNING.contains(&name)
                || name.starts_with("X-Amz-")
        };
        match self.parameters.keys().find(|name| !is_known(name)) {
            Some(name) => Err(ApiError::unknown_parameter(name)),
            None => Ok(()),
        }
    }

    /// A parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::missing_parameter(name))
    }

    /// `Name.1`, `Name.2` and so on, by number.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<&str>, ApiError> {
        let mut values = BTreeMap::new();
        for (key, value) in &self.parameters {
            let Some(index) = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else { continue };
            let number: u32 = index.parse().map_err(|_| ApiError::unknown_parameter(key))?;
            values.insert(number, value.as_str());
        }
        Ok(values.into_values().collect())
    }

    /// A parameter that is true or false.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some("false") => Ok(Some(false)),
            Some("true") => Ok(Some(true)),
            Some(other) => Err(ApiError::invalid_value(name, other, "Expecting true or false.")),
        }
    }

    pub(crate) fn dry_run(&self) -> Result<bool, ApiError> {
        Ok(self.flag("DryRun")?.unwrap_or(false))
    }

    /// The endpoints that the request names, however it names them.
    pub(crate) fn endpoints(&self) -> Vec<&str> {
        let name = "ClientVpnEndpointId";
        self.get(name).into_iter().chain(self.list(name).unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> Option<String> {
        Query::parse("", body.as_bytes()).check(&["DryRun", "Filter."]).err().map(|error| error.code)
    }

    #[test]
    fn parameters_come_from_the_address_and_the_body() {
        let query = Query::parse("Action=A&x=1", b"y=a%40b+c");
        assert_eq!((query.action.as_str(), query.get("x"), query.get("y")), ("A", Some("1"), Some("a@b c")));
    }

    #[test]
    fn odd_requests_get_a_clear_error() {
        assert_eq!(code("Version=2016-11-15&DryRun=true&Filter.1.Name=x&X-Amz-Date=1"), None);
        assert_eq!(code("DryRun=true").as_deref(), Some("MissingParameter"));
        assert_eq!(code("Version=2014-01-01").as_deref(), Some("NoSuchVersion"));
        assert_eq!(code("Version=2016-11-15&Dryrun=true").as_deref(), Some("UnknownParameter"));
        assert_eq!(code("Version=2016-11-15&Filter=true").as_deref(), Some("UnknownParameter"));
        assert_eq!(code("Version=2016-11-15&DryRun=true&DryRun=false").as_deref(), Some("InvalidQueryParameter"));
    }

    #[test]
    fn lists_are_read_by_number_and_not_by_spelling() {
        let query = Query::parse("", b"Id.10=c&Id.2=b&Id.1=a");
        assert_eq!(query.list("Id").unwrap(), ["a", "b", "c"]);
        assert_eq!(Query::parse("", b"Id.x=c").list("Id").unwrap_err().code, "UnknownParameter");
    }

    #[test]
    fn an_empty_parameter_is_a_missing_one() {
        assert_eq!(Query::parse("", b"Id=").required("Id").unwrap_err().code, "MissingParameter");
    }

    #[test]
    fn dry_run_is_true_or_false_and_nothing_else() {
        assert!(Query::parse("", b"DryRun=true").dry_run().unwrap());
        assert!(!Query::parse("", b"DryRun=false").dry_run().unwrap());
        assert_eq!(Query::parse("", b"DryRun=maybe").dry_run().unwrap_err().code, "InvalidParameterValue");
    }
}
