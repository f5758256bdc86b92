//! Calls: their requests and results.

use aias_engine::{
    Event,
    journal::{Authentication, Body, Effect, EffectResult, Failure, HttpResponse},
};
use serde_json::json;

use crate::world::{http, json_of, run, world};

#[test]
fn http_call_requests_effect() {
    let yaml = "
do:
  - a:
      call: http
      with:
        method: put
        endpoint: {uri: 'https://e.example/pets/{id}?x=1', authentication: {bearer: {token: '${ .token }'}}}
        headers: {X-Name: '${ .name }', X-Scheme: '${ $authorization.scheme }'}
        query: {q: a b}
        body: {name: '${ .name }'}
      output: {as: .n}
";
    let mut world = world(|_| json_of(200, json!({"n": 7})));
    let input = json!({"id": "a/b", "name": "Rex", "token": "t0p"});
    assert_eq!(run(yaml, input, &mut world), Ok(json!(7)));
    let requested = http(&world.effects[0]);
    assert_eq!(requested.method, "PUT");
    assert_eq!(requested.uri, "https://e.example/pets/a%2Fb?x=1&q=a+b");
    assert_eq!(requested.body.as_deref(), Some(r#"{"name":"Rex"}"#));
    let headers = [
        ("x-name", "Rex"),
        ("x-scheme", "Bearer"),
        ("content-type", "application/json"),
    ];
    assert_eq!(
        requested.headers,
        headers.map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
    assert_eq!(
        requested.authentication,
        Some(Authentication::Bearer {
            token: "t0p".into()
        })
    );
    assert_eq!(
        world.steps,
        [
            ("/do/0/a".to_owned(), Event::Started),
            ("/do/0/a".to_owned(), Event::Completed)
        ]
    );
}

#[test]
fn error_status_is_communication_error() {
    let call = |redirect: bool| {
        format!("
do:
  - a: {{call: http, with: {{method: get, endpoint: 'https://e.example/secret?key=1', redirect: {redirect}, output: response}}}}
")
    };
    let error = run(
        &call(false),
        json!({}),
        &mut world(|_| json_of(404, json!({}))),
    )
    .unwrap_err();
    assert_eq!(
        (
            error.kind.as_str(),
            error.status,
            error.instance.as_deref(),
            error.detail.as_deref()
        ),
        (
            "https://serverlessworkflow.io/spec/1.0.0/errors/communication",
            404,
            Some("/do/0/a"),
            Some("GET https://e.example/secret returned 404: {}"),
        )
    );
    assert_eq!(
        run(
            &call(false),
            json!({}),
            &mut world(|_| json_of(302, json!({})))
        )
        .unwrap_err()
        .status,
        302
    );
    let output = run(
        &call(true),
        json!({}),
        &mut world(|_| json_of(302, json!({}))),
    );
    assert_eq!(output.unwrap()["statusCode"], 302);
}

#[test]
fn invalid_request_faults_task() {
    for (with, input, code) in [
        (
            "{method: get, endpoint: 'https://e.example/{id}'}",
            json!({}),
            "expression",
        ),
        (
            "{method: get, endpoint: '${ .uri }'}",
            json!({"uri": "file:///etc"}),
            "configuration",
        ),
        (
            "{method: get, endpoint: 'https://e.example/', headers: '${ .h }'}",
            json!({"h": {"host": "x"}}),
            "configuration",
        ),
        (
            "{method: '${ .m }', endpoint: 'https://e.example/'}",
            json!({"m": "a b"}),
            "configuration",
        ),
    ] {
        let yaml = format!("do: [{{a: {{call: http, with: {with}}}}}]");
        let mut world = world(|_| None);
        assert_eq!(
            run(&yaml, input, &mut world).unwrap_err().code,
            code,
            "{with}"
        );
    }
}

#[test]
fn failure_is_caught_by_either_type_uri() {
    for home in ["spec/1.0.0/errors", "dsl/errors/types"] {
        let yaml = format!("
do:
  - a:
      try: [{{b: {{call: http, with: {{method: get, endpoint: 'https://e.example/'}}}}}}]
      catch: {{errors: {{with: {{type: 'https://serverlessworkflow.io/{home}/communication', status: 504, details: late}}}}, do: [{{c: {{set: {{at: '${{ $error.instance }}'}}}}}}]}}
");
        let failed = |_: &Effect| {
            Some(EffectResult::Failed(Failure {
                kind: "communication".into(),
                status: 504,
                title: "Gateway Timeout".into(),
                detail: "late".into(),
            }))
        };
        assert_eq!(
            run(&yaml, json!({}), &mut world(failed)),
            Ok(json!({"at": "/do/0/a/try/0/b"}))
        );
    }
}

#[test]
fn openapi_call_fetches_document_first() {
    let yaml = "
do:
  - a:
      call: openapi
      with: {document: {endpoint: 'https://e.example/openapi.yaml'}, operationId: getPet, parameters: {id: '${ .id }'}, authentication: {basic: {username: u, password: p}}}
";
    let document = "openapi: 3.1.0\nservers: [{url: /v1}]\npaths: {/pets/{id}: {get: {operationId: getPet, parameters: [{name: id, in: path, required: true}]}}}";
    let document = document.replace("/pets/{id}:", "'/pets/{id}':");
    let mut world = world(move |effect| match http(effect).uri.as_str() {
        "https://e.example/openapi.yaml" => Some(EffectResult::Http(HttpResponse {
            status: 200,
            headers: vec![],
            body: Body::Text(document.clone()),
        })),
        uri => json_of(200, json!({"uri": uri})),
    });
    assert_eq!(
        run(yaml, json!({"id": 5}), &mut world),
        Ok(json!({"uri": "https://e.example/v1/pets/5"}))
    );
    assert!(http(&world.effects[0]).authentication.is_none());
    assert!(http(&world.effects[1]).authentication.is_some());
    assert_eq!(world.effects[0].key.task, "/do/0/a/with/document");
    assert_eq!(world.effects[1].key.task, "/do/0/a");
}

#[test]
fn digest_and_oauth_policies_are_evaluated() {
    let yaml = "
use:
  secrets: [mine]
  authentications:
    o: {oauth2: {authority: 'https://{tenant}.example', grant: client_credentials, client: {id: '${ .id }', secret: s, authentication: client_secret_basic}, scopes: [a, b], endpoints: {token: /t}}}
    d: {digest: {username: u, password: '${ .id }'}}
    s: {basic: {use: mine}}
do:
  - a: {call: http, with: {method: get, endpoint: {uri: 'https://e.example/', authentication: {use: o}}}, output: {as: $input}}
  - b: {call: http, with: {method: get, endpoint: {uri: 'https://e.example/', authentication: {use: d}}}, output: {as: $input}}
  - c: {call: http, with: {method: get, endpoint: {uri: 'https://e.example/', authentication: {use: s}}}}
";
    let mut world = world(|_| json_of(200, json!({})));
    run(yaml, json!({"id": "me"}), &mut world).unwrap();
    let of = |i: usize| http(&world.effects[i]).authentication.clone().unwrap();
    let Authentication::OAuth2(request) = of(0) else {
        panic!()
    };
    assert_eq!(request.client, (Some("me".into()), Some("s".into())));
    assert!(request.basic);
    assert_eq!(request.token_path.as_deref(), Some("/t"));
    let form = [("grant_type", "client_credentials"), ("scope", "a b")];
    assert_eq!(
        request.form,
        form.map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
    assert_eq!(
        of(1),
        Authentication::Digest {
            username: "u".into(),
            password: "me".into()
        }
    );
    assert_eq!(
        of(2),
        Authentication::Secret {
            scheme: "basic".into(),
            name: "mine".into()
        }
    );
}
