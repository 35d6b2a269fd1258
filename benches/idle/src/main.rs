//! A Lambda function that does nothing. It starts as fast as a Rust function can on this runtime, and so shows what the
//! connect handler adds.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(nothing)).await
}

async fn nothing(_: LambdaEvent<Value>) -> Result<Value, Error> {
    Ok(json!({}))
}
