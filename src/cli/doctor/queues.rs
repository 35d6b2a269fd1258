//! The queue that feeds the function, and what could not be worked off.

use aws_config::Region;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

use super::Findings;
use crate::arn;
use crate::cli::CliError;
use crate::cli::aws::Aws;
use crate::cli::deployment::Deployment;
use crate::cli::output::shown;
use crate::failure;

pub(super) async fn look(findings: &mut Findings, deployment: &Deployment, aws: &Aws) {
    let queues = match deployment.function(aws).await {
        Ok(function) => function.queues().await,
        Err(error) => Err(error),
    };
    let queues = match queues {
        Ok(queues) => queues,
        Err(error) => return findings.failed("queue", &error),
    };
    if queues.is_empty() {
        let next = "deploy the stack again: without it no event reaches the function";
        findings.wrong("queue", "none feeds the function", next);
    }
    for (arn, state) in queues {
        if !["Enabled", "Updating"].contains(&state.as_str()) {
            findings.wrong(
                "queue",
                format!("its mapping to the function is {}: no signal reaches the function", shown(&state)),
                "enable it: aws lambda update-event-source-mapping --enabled --uuid …",
            );
        }
        match Queue::of(&arn, aws).await {
            Err(error) => findings.failed("queue", &error),
            Ok(queue) => look_at(findings, &queue, aws).await,
        }
    }
}

async fn look_at(findings: &mut Findings, queue: &Queue, aws: &Aws) {
    match queue.depth {
        0 => findings.fine("queue", format!("{}: empty", shown(&queue.name))),
        depth => findings.look(
            "queue",
            format!("{}: {depth} signals wait or are being worked on", shown(&queue.name)),
            "look again in a minute; if they stay: docs/operations.md, oldest message",
        ),
    }
    let what = "dead-letter queue";
    let Some(arn) = &queue.dead_letters else {
        let next = "deploy the stack again: a signal that fails too often would be lost";
        return findings.wrong(what, format!("{} has none", shown(&queue.name)), next);
    };
    match Queue::of(arn, aws).await {
        Err(error) => findings.failed(what, &error),
        Ok(dead) if dead.depth == 0 => findings.fine(what, format!("{}: empty", shown(&dead.name))),
        Ok(dead) => findings.wrong(
            what,
            format!(
                "{}: {} signals could not be worked off; somebody may still be connected",
                shown(&dead.name),
                dead.depth
            ),
            "docs/operations.md, dead letters",
        ),
    }
}

/// A queue and what is in it.
struct Queue {
    name: String,
    depth: u64,
    dead_letters: Option<String>,
}

impl Queue {
    /// The queue of `arn:aws:sqs:eu-west-1:111122223333:name`.
    async fn of(arn: &str, aws: &Aws) -> Result<Self, CliError> {
        let [region, account, name] = [arn::region, arn::account, arn::queue].map(|part| part(arn).to_owned());
        let failed = |why| CliError::Aws { what: format!("queue {} could not be looked at", shown(&name)), why };
        let config = aws.config(crate::aws::timeouts()).await?;
        let config = aws_sdk_sqs::config::Builder::from(&config).region(Region::new(region)).build();
        let client = aws_sdk_sqs::Client::from_conf(config);
        let named = client.get_queue_url().queue_name(&name).queue_owner_aws_account_id(account).send().await;
        let url = named.map_err(|error| failed(failure::why(&error)))?.queue_url.unwrap_or_default();
        let wanted = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::RedrivePolicy,
        ];
        let asked =
            client.get_queue_attributes().queue_url(url).set_attribute_names(Some(wanted.to_vec())).send().await;
        let found = asked.map_err(|error| failed(failure::why(&error)))?.attributes.unwrap_or_default();
        let number = |name| found.get(&name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let policy = found.get(&QueueAttributeName::RedrivePolicy).and_then(|text| serde_json::from_str(text).ok());
        let dead_letters = policy.as_ref().and_then(|policy: &Value| policy.get("deadLetterTargetArn")?.as_str());
        Ok(Self {
            depth: number(QueueAttributeName::ApproximateNumberOfMessages)
                .saturating_add(number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)),
            dead_letters: dead_letters.map(str::to_owned),
            name,
        })
    }
}
