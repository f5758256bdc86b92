//! Runs on a schedule, for dead-lettered messages, and for operators.

use aias_platform::{aws, config::Env, telemetry};
use lambda_runtime::{LambdaEvent, run, service_fn};
use reconciler::{App, Event, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init(env!("CARGO_PKG_NAME"));
    let env = Env::of_process();
    let aws = aws::load(&env);
    let app = &App::load(&aws, &env);
    env.finish()?;
    run(service_fn(async |event: LambdaEvent<Event>| {
        let handled = handle(app, event.payload).await;
        handled.map_err(lambda_runtime::Error::from)
    }))
    .await
}
