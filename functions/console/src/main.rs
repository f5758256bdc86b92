//! `/dashboard…`

use std::process::ExitCode;

use aias_platform::{aws, config::Env, http, telemetry, tenant_credentials};
use console::{App, router};

fn main() -> Result<ExitCode, lambda_runtime::Error> {
    aias_sandbox::serve().map_or_else(|| start().map(|()| ExitCode::SUCCESS), Ok)
}

#[tokio::main(flavor = "current_thread")]
async fn start() -> Result<(), lambda_runtime::Error> {
    telemetry::init(env!("CARGO_PKG_NAME"));
    let env = Env::of_process();
    let aws = aws::load(&env);
    let tenants = tenant_credentials::config(&aws, &env);
    let app = App::load(&aws, &tenants, &env);
    env.finish()?;
    app.api.warm().await;
    http::run(router(app)).await
}
