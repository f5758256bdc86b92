//! `/api/runs…`

use aias_platform::{aws, computation, config::Env, http, telemetry};
use runs::{App, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init(env!("CARGO_PKG_NAME"));
    let env = Env::of_process();
    let aws = aws::load().await;
    let app = &App::load(&aws, &env);
    env.finish()?;
    app.api.warm().await;
    http::run(async |event| {
        let answer = handle(app, event).await;
        computation::end_if_stuck();
        answer
    })
    .await
}
