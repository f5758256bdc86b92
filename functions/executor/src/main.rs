//! Executes runs: one message on the runs queue, one run.

use std::time::Duration;

use aias_platform::{aws, batch::SqsEvent, config::Env, telemetry};
use executor::{App, handle, is_stuck};
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
        if is_stuck() {
            // The answer goes out first; the next batch has an environment of its own.
            std::thread::spawn(|| {
                std::thread::sleep(Duration::from_millis(250));
                tracing::error!("the process ends, because a computation does not");
                std::process::exit(1);
            });
        }
        Ok::<_, std::convert::Infallible>(response)
    }))
    .await
}
