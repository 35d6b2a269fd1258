//! The parts of ARNs: `arn:aws:lambda:eu-west-1:111122223333:function:name`.

/// A part, by its number from 0; empty where there is none.
fn part(arn: &str, number: usize) -> &str {
    arn.split(':').nth(number).unwrap_or_default()
}

/// The Region.
pub(crate) fn region(arn: &str) -> &str {
    part(arn, 3)
}

/// The account.
#[cfg(feature = "revoker")]
pub(crate) fn account(arn: &str) -> &str {
    part(arn, 4)
}

/// What a queue is called.
#[cfg(feature = "cli")]
pub(crate) fn queue(arn: &str) -> &str {
    part(arn, 5)
}

/// The ARN of a function without the version or alias that may follow; none where it is no function's.
#[cfg(feature = "cli")]
pub(crate) fn function(arn: &str) -> Option<String> {
    let is_one = arn.starts_with("arn:") && part(arn, 5) == "function" && !part(arn, 6).is_empty();
    is_one.then(|| arn.split(':').take(7).collect::<Vec<_>>().join(":"))
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_the_same_under_every_alias() {
        let plain = "arn:aws:lambda:eu-west-1:111122223333:function:name";
        assert_eq!(function(plain).as_deref(), Some(plain));
        assert_eq!(function(&format!("{plain}:live")).as_deref(), Some(plain));
        for other in
            ["name", "arn:aws:sqs:eu-west-1:111122223333:name", "arn:aws:lambda:eu-west-1:111122223333:function:"]
        {
            assert_eq!(function(other), None, "{other}");
        }
        assert_eq!((region(plain), account(plain)), ("eu-west-1", "111122223333"));
    }
}
