//! `/api/webhook-endpoints…`

use aias_platform::{aws, config::Env, http, telemetry, tenant_credentials};
use webhook_endpoints::{App, routes};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init(env!("CARGO_PKG_NAME"));
    let env = Env::of_process();
    let aws = aws::load(&env);
    let tenants = tenant_credentials::config(&aws, &env);
    let app = App::new(http::Api::load(&aws, &tenants, &env));
    env.finish()?;
    app.api.warm().await;
    http::run(http::service(routes(app))).await
}
