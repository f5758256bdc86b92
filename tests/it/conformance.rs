//! The DSL's conformance kit, where it lies beside the checkout: each of its scenarios runs on the
//! engine, and what they call is called, by the executor's own client, on hosts of loopback.

#![expect(
    clippy::needless_pass_by_value,
    reason = "sentences hand their words over"
)]

use std::{path::PathBuf, sync::Arc};

use aias_domain::{
    canonical,
    id::{RunId, TenantId},
    plan::COMPUTING,
    run::RunError,
};
use aias_engine::{
    Event,
    definition::{Format, read},
    journal::{Answer, Asked, Entry, Request, What},
};
use aias_platform::{
    clock::Clock,
    outbound::{Concealed, Guard, Outbound},
};
use aias_sandbox::{Computation, Definition, Given, Told};
use aias_testkit::hosts::Hosts;
use cucumber::{World as _, gherkin::Step, given, then, when, writer::Stats as _};
use serde_json::{Value, json};

#[derive(Debug, Default, cucumber::World)]
struct Scenario {
    definition: Option<Arc<Definition>>,
    input: Value,
    order: Vec<String>,
    result: Option<Result<Value, RunError>>,
}

/// The document under a sentence.
fn document(step: &Step) -> Value {
    let text = step.docstring.as_deref().unwrap();
    let text = text.trim_start().strip_prefix("yaml").unwrap_or(text);
    read(text.as_bytes(), Format::Yaml).unwrap()
}

#[given("a workflow with definition:")]
fn definition(scenario: &mut Scenario, step: &Step) {
    scenario.definition = Some(Definition::new(document(step).to_string()));
    scenario.input = json!({});
}

#[given("given the workflow input is:")]
fn input(scenario: &mut Scenario, step: &Step) {
    scenario.input = document(step);
}

#[when("the workflow is executed")]
async fn executed(scenario: &mut Scenario) {
    let clock = Clock::set_to("2026-11-21T12:00:00Z".parse().unwrap());
    let run_id = RunId::new(clock.now(), 1);
    let given = Given {
        definition: Arc::clone(scenario.definition.as_ref().unwrap()),
        run_id: run_id.to_string(),
        input: scenario.input.clone(),
        started_at: clock.now(),
        max_steps: 1_000,
        computing: COMPUTING,
        journal: vec![],
        mark: String::new(),
    };
    let hosts = Hosts::default().start().await;
    let outbound = Outbound::new("127.0.0.0/8".parse::<Guard>().unwrap());
    let sandbox = aias_tests::bench::sandbox();
    let mut computation = Computation::new(&sandbox, given);
    loop {
        match computation.next().await {
            Told::Step(record) => {
                let name = record.task.rsplit('/').next().unwrap().to_owned();
                if record.event != Event::Started {
                    scenario.order.push(name);
                }
            }
            Told::Emitted(..) => {}
            Told::Asked(asked) => {
                let what = answered(&asked, &outbound, &hosts, run_id).await;
                let at = clock.now();
                computation.give(Entry { at, what }).await;
            }
            Told::Ended(outcome) => {
                scenario.result = Some(*outcome);
                return;
            }
        }
    }
}

/// Calls on loopback what is meant for another host.
async fn answered(asked: &Asked, outbound: &Outbound, hosts: &str, run: RunId) -> What {
    let effect = asked.effects.first().unwrap();
    let Request::Http(request) = &effect.request else {
        panic!("{effect:?}")
    };
    let mut request = request.clone();
    request.uri = request.uri.replace("https://", &format!("{hosts}/"));
    let tenant = TenantId::new(run.created_at(), 1);
    let answer = outbound
        .call(tenant, run, effect, &request, Concealed::default())
        .await;
    assert!(matches!(answer, Answer::Http(_)), "{answer:?}");
    What::Answered {
        key: effect.key.clone(),
        digest: effect.digest(),
        answer,
    }
}

fn output(scenario: &Scenario) -> &Value {
    scenario.result.as_ref().unwrap().as_ref().unwrap()
}

fn error(scenario: &Scenario) -> Value {
    let error = scenario.result.as_ref().unwrap().as_ref().unwrap_err();
    serde_json::to_value(error).unwrap()
}

fn property<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(value, |value, name| value.get(name))
}

#[then("the workflow should complete")]
fn completes(scenario: &mut Scenario) {
    output(scenario);
}

#[then("the workflow should complete with output:")]
fn completes_with(scenario: &mut Scenario, step: &Step) {
    let expected = canonical::to_vec(&document(step));
    assert_eq!(canonical::to_vec(output(scenario)), expected);
}

#[then("the workflow should fault")]
fn faults(scenario: &mut Scenario) {
    error(scenario);
}

#[then("the workflow should fault with error:")]
fn faults_with(scenario: &mut Scenario, step: &Step) {
    let error = error(scenario);
    for (member, value) in document(step).as_object().unwrap() {
        assert_eq!(error.get(member), Some(value));
    }
}

#[then(regex = r"^the workflow output should have properties (.+)$")]
fn has_properties(scenario: &mut Scenario, names: String) {
    for name in names.split(',') {
        let name = name.trim().trim_matches('\'');
        let found = property(output(scenario), name);
        assert!(found.is_some(), "no {name} in {}", output(scenario));
    }
}

#[then(regex = r"^the workflow output should have a '(.+)' property with value:$")]
fn has_value(scenario: &mut Scenario, step: &Step, name: String) {
    assert_eq!(property(output(scenario), &name), Some(&document(step)));
}

#[then(regex = r"^the workflow output should have a '(.+)' property containing (\d+) items$")]
fn has_items(scenario: &mut Scenario, name: String, count: usize) {
    let found = property(output(scenario), &name).and_then(Value::as_array);
    assert_eq!(found.unwrap().len(), count);
}

#[then(regex = r"^(\w+) should run (first|last|after \w+)$")]
fn runs(scenario: &mut Scenario, task: String, when: String) {
    let order = &scenario.order;
    let place = |task: &str| order.iter().position(|t| t == task).unwrap();
    match when.as_str() {
        "first" => assert_eq!(place(&task), 0),
        "last" => assert_eq!(place(&task), order.len() - 1),
        after => assert!(place(&task) > place(after.strip_prefix("after ").unwrap())),
    }
}

#[tokio::test]
async fn every_scenario_of_the_kit_passes() {
    let features = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/ctk/features");
    if !features.is_dir() {
        eprintln!("skipped: {} is not there", features.display());
        return;
    }
    let told = Scenario::cucumber()
        .with_default_cli()
        .fail_on_skipped()
        .run(features)
        .await;
    assert!(!told.execution_has_failed());
    assert_eq!((told.skipped_steps(), told.parsing_errors()), (0, 0));
    assert_eq!(told.passed_steps(), 103);
}
