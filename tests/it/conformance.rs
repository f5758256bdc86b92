//! The DSL's conformance kit, if it is next to the checkout: each scenario runs on the engine, and
//! its calls are sent by the executor's client to servers on loopback.

#![expect(
    clippy::needless_pass_by_value,
    reason = "cucumber passes owned strings"
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
    journal::{EffectResult, Entry, EntryEvent, PendingEffects, Request},
};
use aias_platform::{
    clock::Clock,
    outbound::{Guard, Outbound, Redactions},
};
use aias_sandbox::{Computation, ComputationInput, Definition, Report};
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

/// The document attached to a step.
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
    let given = ComputationInput {
        definition: Arc::clone(scenario.definition.as_ref().unwrap()),
        run_id: run_id.to_string(),
        input: scenario.input.clone(),
        started_at: clock.now(),
        max_steps: 1_000,
        computing: COMPUTING,
        journal: vec![],
        secret_nonce: String::new(),
        with_data: false,
    };
    let hosts = Hosts::default().start().await;
    let outbound = Outbound::new("127.0.0.0/8".parse::<Guard>().unwrap());
    let sandbox = aias_tests::bench::sandbox();
    let mut computation = Computation::new(&sandbox, given);
    loop {
        match computation.next().await {
            Report::Step(record) => {
                let name = record.task.rsplit('/').next().unwrap().to_owned();
                if record.event != Event::Started {
                    scenario.order.push(name);
                }
            }
            Report::StepData(_) | Report::Emitted(..) => {}
            Report::PendingEffects(requested) => {
                let event = answered(&requested, &outbound, &hosts, run_id).await;
                let at = clock.now();
                computation.give(Entry { at, event }).await;
            }
            Report::Ended(outcome) => {
                scenario.result = Some(*outcome);
                return;
            }
        }
    }
}

/// Sends a request for any host to loopback.
async fn answered(
    requested: &PendingEffects,
    outbound: &Outbound,
    hosts: &str,
    run: RunId,
) -> EntryEvent {
    let effect = requested.effects.first().unwrap();
    let Request::Http(request) = &effect.request else {
        panic!("{effect:?}")
    };
    let mut request = request.clone();
    request.uri = request.uri.replace("https://", &format!("{hosts}/"));
    let tenant = TenantId::new(run.created_at(), 1);
    let response = outbound
        .call(tenant, run, effect, &request, Redactions::default())
        .await;
    assert!(matches!(response, EffectResult::Http(_)), "{response:?}");
    EntryEvent::EffectCompleted {
        key: effect.key.clone(),
        digest: effect.digest(),
        result: response,
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
async fn conformance_scenarios_pass() {
    let features = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/ctk/features");
    if !features.is_dir() {
        eprintln!("skipped: {} does not exist", features.display());
        return;
    }
    let summary = Scenario::cucumber()
        .with_default_cli()
        .fail_on_skipped()
        .run(features)
        .await;
    assert!(!summary.execution_has_failed());
    assert_eq!((summary.skipped_steps(), summary.parsing_errors()), (0, 0));
    assert_eq!(summary.passed_steps(), 103);
}
