//! Executes runs: each message on the runs queue is one run.

use std::process::ExitCode;

use aias_platform::{aws, config::Env, sqs::SqsEvent, telemetry};
use executor::{App, handle};
use lambda_runtime::{LambdaEvent, run, service_fn};

fn main() -> Result<ExitCode, lambda_runtime::Error> {
    aias_sandbox::serve().map_or_else(|| start().map(|()| ExitCode::SUCCESS), Ok)
}

#[tokio::main(flavor = "current_thread")]
async fn start() -> Result<(), lambda_runtime::Error> {
    telemetry::init(env!("CARGO_PKG_NAME"));
    let env = Env::of_process();
    let aws = aws::load(&env);
    let app = &App::load(&aws, &env);
    env.finish()?;
    app.warm().await;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let response = handle(app, event.payload, event.context.deadline()).await;
        Ok::<_, std::convert::Infallible>(response)
    }))
    .await
}
