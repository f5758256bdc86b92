//! Runs started by runs.

use std::time::Duration;

use aias_domain::run::Status;
use aias_testkit::wire::Side;
use aias_tests::bench::json_of;
use serde_json::{Value, json};

use crate::effects::{
    define, execute, furnished, get, output_of, run_of, settle, settle_with, verified,
};

#[tokio::test]
async fn child_run_is_linked_to_parent() {
    let (bench, _, url) = furnished().await;
    let child = json!([{"w": {"wait": {"minutes": 20}}}, {"a": get(&format!("{url}/echo"))}, {"b": {"set": {"twice": "${ $workflow.input.n * 2 }"}}}]);
    define(&bench, "child", child).await;
    let bad = json!([{"a": {"raise": {"error": {"type": "https://e.example/no", "status": 418, "title": "No"}}}}]);
    define(&bench, "bad", bad).await;
    define(&bench, "quick", json!([{"a": {"set": {"n": 4}}}])).await;
    let run = |name: &str, wait: bool| json!({"run": {"workflow": {"namespace": "test", "name": name, "version": "1.0.0", "input": {"n": "${ .n }"}}, "await": wait}});
    let tasks = json!([
        {"quick": run("quick", true)},
        {"free": run("child", false)},
        {"good": run("child", true)},
        {"t": {"try": [{"bad": run("bad", true)}], "catch": {"do": [{"c": {"set": {"caught": "${ $error.status }", "at": "${ $error.instance }"}}}]}}},
        {"u": {"try": [{"gone": run("nobody", true)}], "catch": {"do": [{"c": {"set": {"caught": ["${ $error.status }", "${ .caught }"], "at": "${ .at }"}}}]}}},
    ]);
    let workflow = define(&bench, "parent", tasks).await;
    let id = execute(&bench, &workflow, json!({"n": 4})).await;
    settle(&bench).await;
    let parent = run_of(&bench, &id).await;
    assert_eq!((parent.status, parent.awaits_run), (Status::Waiting, true));
    assert_eq!(parent.children.len(), 3);
    bench.clock.advance(Duration::from_secs(1_200));
    bench.wake().await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    settle(&bench).await;
    assert_eq!(
        output_of(&bench, &id).await,
        json!({"caught": [404, 418], "at": "/do/3/t/try/0/bad"})
    );
    let parent = run_of(&bench, &id).await;
    let children: Vec<_> = parent
        .children
        .iter()
        .map(|child| child.task.as_str())
        .collect();
    assert_eq!(
        children,
        [
            "/do/0/quick",
            "/do/1/free",
            "/do/2/good",
            "/do/3/t/try/0/bad"
        ]
    );
    for child in &parent.children[1..3] {
        let path = format!("/api/runs/{}", child.run_id);
        let shown = json_of(&bench.request("runs", "GET", &path, &Value::Null).await);
        assert_eq!(shown["status"], "completed");
        assert_eq!(shown["trigger"]["type"], "workflow");
        assert_eq!(shown["trigger"]["parent_run_id"], id.as_str());
        assert_eq!(
            output_of(&bench, &child.run_id.to_string()).await,
            json!({"twice": 8})
        );
    }
    assert_eq!(verified(&bench, &id).await["reproducible"], true);
}

#[tokio::test]
async fn inline_output_reaches_parent() {
    let (bench, ..) = furnished().await;
    let child = json!([{"a": {"set": {"twice": "${ $workflow.input.n * 2 }"}}}]);
    define(&bench, "child", child).await;
    let tasks = json!([{"a": {"run": {"workflow": {"namespace": "test", "name": "child", "version": "latest", "input": {"n": "${ .n }"}}}}}]);
    let workflow = define(&bench, "parent", tasks).await;
    let id = execute(&bench, &workflow, json!({"n": 4})).await;
    bench.wire.reset();
    settle_with(&bench, 4_096).await;
    assert!(!bench.wire.calls().iter().any(|call| call == "S3.PUT"));
    assert_eq!(output_of(&bench, &id).await, json!({"twice": 8}));
    assert_eq!(verified(&bench, &id).await["reproducible"], true);
}

#[tokio::test]
async fn recursive_workflow_ends_at_depth_limit() {
    let (bench, _, _) = furnished().await;
    let tasks = json!([{"a": {"run": {"workflow": {"namespace": "test", "name": "self", "version": "latest"}}}}]);
    let workflow = define(&bench, "self", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    settle(&bench).await;
    let run = run_of(&bench, &id).await;
    assert_eq!(run.status, Status::Faulted);
    assert_eq!(run.error.unwrap().title, "Too Deep");
    assert_eq!(bench.runs().await.len(), 9);
}

#[tokio::test]
async fn crash_while_starting_child_creates_one_child() {
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            let (bench, _, _) = furnished().await;
            let what = format!("{side:?} call {number}");
            define(&bench, "child", json!([{"a": {"set": {"x": 1}}}])).await;
            let tasks = json!([{"a": {"run": {"workflow": {"namespace": "test", "name": "child", "version": "latest"}}}}]);
            let workflow = define(&bench, "parent", tasks).await;
            let id = execute(&bench, &workflow, json!({})).await;
            let messages = bench.messages().await;
            bench.wire.reset();
            bench.wire.break_at(number, side);
            bench.deliver(&bench.executor(), &messages, 1).await;
            let was_broken = bench.wire.is_broken();
            bench.wire.reset();
            if was_broken {
                bench.deliver(&bench.executor(), &messages, 2).await;
            }
            settle(&bench).await;
            assert_eq!(output_of(&bench, &id).await, json!({"x": 1}), "{what}");
            assert_eq!(bench.runs().await.len(), 2, "{what}");
            if !was_broken {
                assert!(number >= 15, "{what}");
                break;
            }
        }
    }
}

/// The answer of any call of the child is lost, though the call took effect, and the SDK repeats it.
#[tokio::test]
async fn parent_continues_when_the_answer_of_a_write_is_lost() {
    for number in 0.. {
        let (mut bench, ..) = furnished().await;
        bench.retries = true;
        define(&bench, "child", json!([{"a": {"set": {"n": 4}}}])).await;
        let run = json!({"workflow": {"namespace": "test", "name": "child", "version": "latest"}});
        let workflow = define(&bench, "parent", json!([{"a": {"run": run}}])).await;
        let id = execute(&bench, &workflow, json!({})).await;
        let parent = bench.messages().await;
        bench.deliver(&bench.executor(), &parent, 1).await;
        let child = bench.messages().await;
        assert_eq!(child.len(), 1);
        bench.wire.reset();
        bench.wire.lose_answer_of(number);
        let reported = bench.deliver(&bench.executor(), &child, 1).await;
        let was_lost = bench.wire.has_lost_answer();
        bench.wire.reset();
        let failed = aias_tests::bench::failed_of(&reported, &child);
        bench.deliver(&bench.executor(), &failed, 2).await;
        settle(&bench).await;
        assert_eq!(
            output_of(&bench, &id).await,
            json!({"n": 4}),
            "call {number}"
        );
        if !was_lost {
            assert!(number > 5, "{number}");
            break;
        }
    }
}
