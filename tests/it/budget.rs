//! What the way of a webhook costs, counted: AWS calls, rounds of waiting, write units.

use aias_tests::bench::Bench;

#[expect(
    clippy::print_stdout,
    reason = "the table is what the test is read for"
)]
fn show(what: &str, bench: &Bench) {
    let calls = bench.wire.calls();
    println!(
        "| {what} | {} | {} | {} | {} |",
        calls.len(),
        bench.wire.rounds(),
        bench.wire.write_units(),
        calls.join(" ")
    );
}

fn one_kib_body() -> String {
    // Letters that do not deflate well, as an id or a signature would be.
    let mut state = 7_u64;
    let pad: String = std::iter::from_fn(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Some(char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                [(state >> 58) as usize],
        ))
    })
    .take(1024 - 26)
    .collect();
    let body = format!(r#"{{"id": "ord_1", "pad": "{pad}"}}"#);
    assert_eq!(body.len(), 1024);
    body
}

#[tokio::test]
async fn the_hot_path_stays_within_its_budget() {
    let Some(bench) = Bench::new().await else {
        return;
    };
    let (ingest, executor) = (bench.ingest(), bench.executor());
    let body = one_kib_body();
    println!("| path | calls | rounds | write units | which |\n|---|---|---|---|---|");

    bench.post(&ingest, "evt_cold", &body).await;
    show("ingest, cold", &bench);
    let messages = bench.messages().await;
    bench.wire.reset();
    bench.deliver(&executor, &messages, 1).await;
    show("executor, cold", &bench);

    bench.wire.reset();
    let answer = bench.post(&ingest, "evt_hot", &body).await;
    assert_eq!(answer.status_code, 202);
    show("ingest, hot", &bench);
    let mut calls = bench.wire.calls();
    calls.sort();
    assert_eq!(
        calls,
        [
            "DynamoDB.PutItem",
            "DynamoDB.PutItem",
            "DynamoDB.UpdateItem",
            "SQS.SendMessage"
        ]
    );
    assert_eq!(bench.wire.rounds(), 2);
    assert!(
        (1.0..=4.0).contains(&bench.wire.write_units()),
        "{}",
        bench.wire.write_units()
    );

    let messages = bench.messages().await;
    bench.wire.reset();
    assert!(
        bench
            .deliver(&executor, &messages, 1)
            .await
            .batch_item_failures
            .is_empty()
    );
    show("executor, hot", &bench);
    let mut calls = bench.wire.calls();
    calls.sort();
    assert_eq!(
        calls,
        [
            "DynamoDB.GetItem",
            "DynamoDB.GetItem",
            "DynamoDB.GetItem",
            "DynamoDB.PutItem",
            "DynamoDB.PutItem",
            "S3.PUT"
        ]
    );
    assert_eq!(bench.wire.rounds(), 3);
    assert!(
        (1.0..=3.0).contains(&bench.wire.write_units()),
        "{}",
        bench.wire.write_units()
    );

    bench.wire.reset();
    let answer = bench.post(&ingest, "evt_hot", &body).await;
    assert_eq!(answer.status_code, 200);
    show("ingest, a duplicate", &bench);
}
