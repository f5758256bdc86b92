//! A no-op function with `lambda_http`, to which the other functions are compared.

use lambda_http::{Body, Error, Request, Response, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_: Request| {
        Ok::<_, Error>(Response::builder().status(202).body(Body::Empty)?)
    }))
    .await
}
