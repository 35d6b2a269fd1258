//! An answer that was cut off is no answer.
//!
//! The SDK's parser takes the end of the text for the end of every element that is still open: half a listing would be
//! read as a whole one, and one that ends early enough as "nobody is connected". HTTP tells of a body that is shorter
//! than announced; this does not depend on everything between here and EC2 announcing it.

use aws_sdk_ec2::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;
use thiserror::Error;

/// Checks that successful answers to this action are there to their last byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole(pub(super) &'static str);

#[derive(Debug, Error)]
#[error("EC2's answer to {0} does not end where it should; it was cut off, or something that is not EC2 answered")]
struct CutOff(&'static str);

impl Intercept for Whole {
    fn name(&self) -> &'static str {
        "WholeAnswers"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let body = response.body().bytes().unwrap_or_default().trim_ascii_end();
        let end = format!("</{}Response>", self.0);
        if response.status().is_success() && !body.ends_with(end.as_bytes()) {
            return Err(CutOff(self.0).into());
        }
        Ok(())
    }
}
