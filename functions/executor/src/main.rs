//! Executes runs: one message on the runs queue, one run.

use aias_platform::{aws, batch::SqsEvent, computation, config::Env, telemetry};
use executor::{App, handle};
use lambda_runtime::{LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init(env!("CARGO_PKG_NAME"));
    let env = Env::of_process();
    let aws = aws::load().await;
    let app = &App::load(&aws, &env);
    env.finish()?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let response = handle(app, event.payload, event.context.deadline()).await;
        computation::end_if_stuck();
        Ok::<_, std::convert::Infallible>(response)
    }))
    .await
}
