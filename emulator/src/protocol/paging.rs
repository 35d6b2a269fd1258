//! `MaxResults` and `NextToken`.

use std::hash::{BuildHasher, Hash, RandomState};

use super::error::ApiError;
use super::query::Query;
use crate::actions::Action;

/// AWS's own bounds for `MaxResults`.
const BOUNDS: std::ops::RangeInclusive<usize> = 5..=1000;

/// Writes and reads tokens. A token names the last row that was shown, not a number of rows, so rows that change or
/// leave between two pages shift nothing.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Random for each emulator: a token made by hand, or by another emulator, is unknown here.
    secret: RandomState,
}

/// Where a page begins and how long it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// Rows after this one; all rows when there is none.
    pub(crate) after: Option<u64>,
    pub(crate) size: usize,
    pub(crate) token: Option<String>,
}

impl Tokens {
    /// Reads the paging parameters. A token belongs to one action and one `scope` (the endpoint and the filters).
    pub(crate) fn page(
        &self,
        query: &Query,
        action: Action,
        scope: &impl Hash,
        max_page_size: usize,
    ) -> Result<Page, ApiError> {
        let asked =
            match query.get("MaxResults") {
                None => *BOUNDS.end(),
                Some(text) => text.parse().ok().filter(|size| BOUNDS.contains(size)).ok_or_else(|| {
                    ApiError::invalid_value("MaxResults", text, "Expecting a number between 5 and 1000.")
                })?,
            };
        let token = query.get("NextToken");
        let after = token.map(|token| self.read(token, action, scope)).transpose()?;
        Ok(Page { after, size: asked.min(max_page_size).max(1), token: token.map(str::to_owned) })
    }

    /// The token for the page after row `last`.
    pub(crate) fn write(&self, action: Action, scope: &impl Hash, last: u64) -> String {
        format!("{last:016x}{:016x}", self.secret.hash_one((action, scope, last)))
    }

    fn read(&self, token: &str, action: Action, scope: &impl Hash) -> Result<u64, ApiError> {
        token
            .get(..16)
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .filter(|last| self.write(action, scope, *last) == token)
            .ok_or_else(ApiError::invalid_token)
    }
}

impl Page {
    /// Cuts this page from rows in ascending order of `key`; the second value says whether more rows follow.
    pub(crate) fn cut<T>(&self, rows: impl Iterator<Item = T>, key: impl Fn(&T) -> u64) -> (Vec<T>, bool) {
        let mut rows: Vec<T> =
            rows.filter(|row| self.after.is_none_or(|after| key(row) > after)).take(self.size + 1).collect();
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        (rows, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTION: Action = Action::DescribeConnections;

    fn page(tokens: &Tokens, body: &str, cap: usize) -> Result<Page, String> {
        tokens.page(&Query::parse("", body.as_bytes()), ACTION, &"scope", cap).map_err(|error| error.code)
    }

    #[test]
    fn a_page_has_a_thousand_rows_unless_asked_or_capped() {
        let tokens = Tokens::default();
        assert_eq!(page(&tokens, "", 1000).unwrap().size, 1000);
        assert_eq!(page(&tokens, "MaxResults=5", 1000).unwrap().size, 5);
        assert_eq!(page(&tokens, "MaxResults=100", 7).unwrap().size, 7);
    }

    #[test]
    fn max_results_keeps_to_its_bounds() {
        let tokens = Tokens::default();
        for bad in ["4", "1001", "-1", "many"] {
            assert_eq!(page(&tokens, &format!("MaxResults={bad}"), 1000).unwrap_err(), "InvalidParameterValue");
        }
    }

    #[test]
    fn a_token_leads_behind_the_row_it_was_made_for() {
        let tokens = Tokens::default();
        let next = tokens.write(ACTION, &"scope", 2);
        let page = page(&tokens, &format!("MaxResults=5&NextToken={next}"), 2).unwrap();
        assert_eq!(page.cut(1..=5_u64, |row| *row), (vec![3, 4], true));
        assert_eq!(page.cut(1..=4_u64, |row| *row), (vec![3, 4], false));
    }

    #[test]
    fn a_token_from_elsewhere_is_unknown() {
        let tokens = Tokens::default();
        for token in [
            "nonsense".to_owned(),
            "ü".repeat(40),
            tokens.write(ACTION, &"another endpoint", 2),
            tokens.write(Action::DescribeEndpoints, &"scope", 2),
            Tokens::default().write(ACTION, &"scope", 2),
        ] {
            assert_eq!(page(&tokens, &format!("NextToken={token}"), 9).unwrap_err(), "InvalidPaginationToken");
        }
    }
}
