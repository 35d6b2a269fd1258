//! As whom AWS is called.

use super::Findings;
use crate::cli::CliError;
use crate::cli::aws::Aws;
use crate::cli::output::shown;
use crate::failure;

pub(super) async fn look(findings: &mut Findings, aws: &Aws) {
    match identity(aws).await {
        Ok(arn) => findings.fine("credentials", format!("acting as {}", shown(&arn))),
        Err(error) => findings.failed("credentials", &error),
    }
}

async fn identity(aws: &Aws) -> Result<String, CliError> {
    let client = aws_sdk_sts::Client::new(&aws.config(crate::aws::timeouts()).await?);
    let asked = client.get_caller_identity().send().await;
    let failed = |error| CliError::Aws { what: "AWS does not say who this is".to_owned(), why: failure::why(&error) };
    Ok(asked.map_err(failed)?.arn().unwrap_or_default().to_owned())
}
