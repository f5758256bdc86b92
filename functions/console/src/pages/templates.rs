//! Definitions to start from.

/// A definition.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) name: &'static str,
    pub(crate) definition: &'static str,
}

pub(crate) const ALL: [Template; 4] = [
    Template {
        name: "transform",
        definition: "\
document: {dsl: '1.0.3', namespace: default, name: transform, version: '1.0.0'}
do:
  - pick:
      set:
        id: ${ .body.id // .id }
        received_at: ${ .received_at }
",
    },
    Template {
        name: "route",
        definition: "\
document: {dsl: '1.0.3', namespace: default, name: route, version: '1.0.0'}
do:
  - decide:
      switch:
        - created: {when: .body.type == \"created\", then: greet}
        - other: {then: ignore}
  - greet:
      set: {message: '${ \"Hello \\(.body.name)\" }'}
      then: end
  - ignore:
      set: {ignored: '${ .body.type }'}
",
    },
    Template {
        name: "call",
        definition: "\
document: {dsl: '1.0.3', namespace: default, name: call, version: '1.0.0'}
do:
  - fetch:
      try:
        - get:
            call: http
            with: {method: get, endpoint: 'https://api.example.com/items/{id}'}
            input: {from: {id: '${ .body.id }'}}
      catch:
        errors: {with: {status: 503}}
        retry: {delay: {seconds: 2}, backoff: {exponential: {}}, limit: {attempt: {count: 5}}}
  - result:
      set: {item: '${ . }'}
",
    },
    Template {
        name: "wait",
        definition: "\
document: {dsl: '1.0.3', namespace: default, name: wait, version: '1.0.0'}
do:
  - pause: {wait: {minutes: 10}}
  - result:
      set: {event: '${ $workflow.input.id }', waited: true}
",
    },
];

/// The template with this name, the first one by default.
pub(crate) fn named(name: &str) -> &'static Template {
    let [first, ..] = &ALL;
    ALL.iter().find(|own| own.name == name).unwrap_or(first)
}
