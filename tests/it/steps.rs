//! What happened in a run: the data of its steps, its output, its replays, and its differences from
//! another run.

use aias_tests::{
    client::{Client, definition},
    hosts,
};
use serde_json::{Value, json};

fn execute(client: &Client, workflow: &str, input: &Value) -> Value {
    let body = json!({"workflow_id": workflow, "input": input});
    let run = client.post("/api/workflows/execute", &body).expect(202);
    client.ended(&run.text("run_id"))
}

fn id(run: &Value) -> &str {
    run["id"].as_str().unwrap()
}

fn steps(client: &Client, run: &Value) -> Vec<Value> {
    let path = format!("/api/runs/{}/steps?limit=100", id(run));
    let page = client.get(&path).expect(200).json();
    assert_eq!(page["next_cursor"], Value::Null);
    page["data"].as_array().unwrap().clone()
}

#[test]
fn steps_of_a_past_run_are_computed_again() {
    let client = Client::new();
    let (hosts, url) = hosts::start();
    let secret = json!({"value": "hush-hush-hush"});
    client
        .json("PUT", "/api/secrets/token", &secret)
        .expect(201);
    let call = json!({"call": "http", "with": {
        "method": "post", "endpoint": format!("{url}/echo"),
        "headers": {"x-token": "${ .token }"}, "body": {"n": "${ .n }"},
    }, "input": {"from": "${ {n: .n, token: $secrets.token} }"}});
    let mut document = definition(&json!([
        {"try": {"try": [{"bad": {"call": "http", "with": {"method": "get", "endpoint": format!("{url}/status/503")}}}],
                 "catch": {"do": [{"on": {"set": {"n": 2}}}]}}},
        {"send": call},
        {"pick": {"set": {"got": "${ .body.n // .body }"}, "export": {"as": "${ {done: true} }"}}},
    ]));
    document["use"] = json!({"secrets": ["token"]});
    let workflow = client.post("/api/workflows", &json!({"definition": document}));
    let workflow = workflow.expect(201).text("id");
    let run = execute(&client, &workflow, &json!({"n": 1}));
    assert_eq!(run["status"], "completed", "{run}");
    let called = hosts.seen("/").len();
    let all = steps(&client, &run);
    let tasks: Vec<_> = all
        .iter()
        .map(|s| (s["task"].as_str().unwrap(), s["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        tasks,
        [
            ("/do/0/try/try/0/bad", "faulted"),
            ("/do/0/try/catch/do/0/on", "completed"),
            ("/do/0/try", "completed"),
            ("/do/1/send", "completed"),
            ("/do/2/pick", "completed"),
        ]
    );
    assert_eq!(all[0]["calls"][0]["result"]["status"], 503);
    let detail = all[0]["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("returned 503"), "{detail}");
    let sent = &all[3]["calls"][0]["request"];
    assert_eq!(sent["headers"]["x-token"], "$secrets.token");
    assert_eq!(sent["body"], json!({"n": 2}));
    assert_eq!(all[3]["input"], json!({"n": 2, "token": "$secrets.token"}));
    assert_eq!(all[4]["context"], json!({"done": true}));
    assert_eq!(all[4]["expressions"][0]["pointer"], "/do/2/pick/set/got");
    assert_eq!(all[4]["output_digest"], run["output_digest"]);
    assert_eq!(hosts.seen("/").len(), called, "no call is made again");
    let shown = serde_json::to_string(&all).unwrap();
    assert!(
        !shown.contains("hush-hush-hush") && !shown.contains("aias_secret_"),
        "{shown}"
    );
}

#[test]
fn steps_are_paged() {
    let client = Client::new();
    let tasks = json!([{"each": {"for": {"in": "${ [range(7)] }"}, "do": [{"a": {"set": {"n": "${ $index }"}}}]}}]);
    let run = execute(&client, &client.workflow(&tasks), &json!({}));
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/runs/{}/steps?limit=3{cursor}", id(&run));
        let page = client.get(&path).expect(200).json();
        found.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            None => break,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
    let outputs: Vec<_> = found
        .iter()
        .map(|step| step["output"]["n"].clone())
        .collect();
    assert_eq!(outputs, [0, 1, 2, 3, 4, 5, 6, 6].map(Value::from));
}

#[test]
fn waiting_run_shows_what_it_waits_for() {
    let client = Client::new();
    let tasks =
        json!([{"a": {"set": {"x": 1}}}, {"w": {"wait": {"hours": 1}}}, {"b": {"set": {"x": 2}}}]);
    let body = json!({"workflow_id": client.workflow(&tasks)});
    let run = client
        .post("/api/workflows/execute", &body)
        .expect(202)
        .json();
    let run = json!({"id": run["run_id"]});
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while client
        .get(&format!("/api/runs/{}", id(&run)))
        .expect(200)
        .text("status")
        != "waiting"
    {
        assert!(std::time::Instant::now() < until);
    }
    let all = steps(&client, &run);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["task"], "/do/0/a");
    client
        .post(&format!("/api/runs/{}/cancel", id(&run)), &Value::Null)
        .expect(200);
}

#[test]
fn output_is_included_on_request() {
    let client = Client::new();
    let workflow = client.workflow(&json!([{"a": {"set": {"x": "${ \"y\" * .n }"}}}]));
    let path = format!("/api/workflows/{workflow}/execute");
    let body = json!({"input": {"n": 3}}).to_string();
    let headers = [("content-type", "application/json"), ("prefer", "wait=20")];
    let run = client
        .call("POST", &path, &headers, body.as_bytes())
        .expect(200)
        .json();
    assert_eq!(run["output"], json!({"x": "yyy"}));
    let path = format!("/api/runs/{}", id(&run));
    assert_eq!(client.get(&path).expect(200).json().get("output"), None);
    let included = client
        .get(&format!("{path}?include=output"))
        .expect(200)
        .json();
    assert_eq!(included["output"], json!({"x": "yyy"}));
    // A larger output is only an artifact.
    let run = execute(&client, &workflow, &json!({"n": 300_000}));
    let large = client
        .get(&format!("/api/runs/{}?include=output", id(&run)))
        .expect(200)
        .json();
    assert_eq!(
        (
            large.get("output"),
            large["artifacts"][0]["size_bytes"].as_u64()
        ),
        (None, Some(300_008))
    );
    client
        .get(&format!("{path}?include=everything"))
        .expect(400);
}

#[test]
fn runs_are_compared_and_list_their_replays() {
    let client = Client::new();
    let tasks = |n: u32| json!([{"a": {"set": {"n": n}}}, {"b": {"set": {"n": "${ .n + 1 }", "same": true}}}]);
    let workflow = client.workflow(&tasks(1));
    let first = execute(&client, &workflow, &json!({}));
    let body = json!({"definition": definition(&tasks(5))});
    client
        .json("PUT", &format!("/api/workflows/{workflow}"), &body)
        .expect(200);
    let replay = |body: &Value| {
        let run = client
            .post(&format!("/api/runs/{}/replay", id(&first)), body)
            .expect(202);
        client.ended(&run.text("run_id"))
    };
    let (same, other) = (
        replay(&json!({"workflow_version": 1})),
        replay(&Value::Null),
    );
    let compared = |with: &Value| {
        let path = format!("/api/runs/{}/compare?with={}", id(&first), id(with));
        client.get(&path).expect(200).json()
    };
    let equal = compared(&same);
    assert_eq!(
        (&equal["equal"], &equal["output_patch"]),
        (&json!(true), &json!([]))
    );
    let different = compared(&other);
    assert_eq!(different["equal"], false);
    assert_eq!(
        different["output_patch"],
        json!([{"op": "replace", "path": "/n", "value": 6}])
    );
    let at = &different["first_difference"];
    assert_eq!(
        (&at["index"], &at["this"]["output"], &at["other"]["output"]),
        (&json!(0), &json!({"n": 1}), &json!({"n": 5}))
    );
    let replays = client
        .get(&format!("/api/runs/{}", id(&first)))
        .expect(200)
        .json();
    assert_eq!(replays["replays"], json!([other["id"], same["id"]]));
    let stranger = Client::new();
    let theirs = execute(&stranger, &stranger.workflow(&tasks(1)), &json!({}));
    let path = format!("/api/runs/{}/compare?with={}", id(&first), id(&theirs));
    assert_eq!(client.get(&path).expect(400).text("code"), "bad-parameter");
}

#[test]
fn errors_are_grouped() {
    let client = Client::new();
    let raise = json!([{"bad": {"raise": {"error": {"type": "https://e.example/e", "status": 400, "title": "E", "detail": "${ .why }"}}}}]);
    let workflow = client.workflow(&raise);
    for why in ["one", "two", "one"] {
        assert_eq!(
            execute(&client, &workflow, &json!({"why": why}))["status"],
            "faulted"
        );
    }
    let groups = client.get("/api/runs/errors").expect(200).json();
    let groups = groups["data"].as_array().unwrap();
    let shown: Vec<_> = groups
        .iter()
        .map(|g| (g["message"].as_str().unwrap(), g["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(shown, [("one", 2), ("two", 1)]);
    assert_eq!(
        (&groups[0]["task"], &groups[0]["code"]),
        (&json!("/do/0/bad"), &json!("raised"))
    );
    assert!(groups[0]["first_at"].as_str() < groups[0]["last_at"].as_str());
    let none = client
        .get("/api/runs/errors?to=2026-01-01")
        .expect(200)
        .json();
    assert_eq!(none["data"], json!([]));
}

#[test]
fn list_takes_dates_and_event_ids() {
    let client = Client::new();
    let endpoint = client.endpoint(
        &client.workflow(&json!([{"a": {"set": {"x": 1}}}])),
        &json!({"scheme": "none"}),
    );
    let post = |event: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", event),
        ];
        aias_tests::client::send("POST", endpoint["url"].as_str().unwrap(), &headers, b"{}")
            .expect(202)
            .text("run_id")
    };
    let (first, _) = (post("evt-1"), post("evt-2"));
    let path = "/api/runs?event_id=evt-1";
    let page = client.get(path).expect(200).json();
    assert_eq!(page["data"][0]["id"], first.as_str(), "{page}");
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    assert_eq!(page["next_cursor"], Value::Null);
    // The endpoint knows the run at once; the cursor continues with older runs, of which there are
    // none.
    let path = format!("{path}&endpoint_id={}", endpoint["id"].as_str().unwrap());
    let page = client.get(&path).expect(200).json();
    assert_eq!(page["data"][0]["id"], first.as_str(), "{page}");
    let next = format!("{path}&cursor={}", page["next_cursor"].as_str().unwrap());
    let rest = client.get(&next).expect(200).json();
    assert_eq!(
        (&rest["data"], &rest["next_cursor"]),
        (&json!([]), &Value::Null)
    );
    let none = client.get("/api/runs?event_id=evt-3").expect(200).json();
    assert_eq!(
        (&none["data"], &none["next_cursor"]),
        (&json!([]), &Value::Null)
    );
    let of = |query: &str| {
        client.get(&format!("/api/runs?{query}")).expect(200).json()["data"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        (
            of("from=2026-01-01"),
            of("to=2026-01-01"),
            of("from=2099-01-01&to=2026-01-01")
        ),
        (2, 0, 0)
    );
    let problem = client.get("/api/runs?from=yesterday").expect(400);
    assert!(
        problem.text("detail").contains("or a date"),
        "{}",
        problem.text("detail")
    );
    let artifacts = client
        .get("/api/artifacts?workflow_id=wf_01JD3V4ZK8QW5R7T9X1B3C5D7F")
        .expect(200)
        .json();
    assert_eq!(artifacts["data"], json!([]));
}
