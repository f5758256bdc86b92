use super::*;

fn compile(codes: &[&str]) -> Result<(Filters, Vec<Expression>), Vec<crate::Fault>> {
    let (mut faults, mut expressions) = (Faults::default(), Expressions::default());
    let mut all = Vec::new();
    for (index, code) in codes.iter().enumerate() {
        all.extend(expressions.add(&mut faults, &["item".into()], code, &format!("/{index}")));
    }
    let filters = expressions.compile(&mut faults);
    faults
        .into_result((filters, all))
        .map(|(compiled, _)| compiled)
}

fn evaluate(code: &str) -> Result<String, String> {
    let (filters, all) = compile(&["1", code, "2"]).map_err(|f| f[0].detail.clone())?;
    let arguments = Arguments {
        values: Default::default(),
        now: 5.0,
    };
    let dot = Val::obj(
        [(Val::from("a".to_owned()), Val::from(3_isize))]
            .into_iter()
            .collect(),
    );
    filters
        .evaluate(all[1], &dot, &arguments, &[Val::from(7_isize)])
        .map(|v| v.to_string())
}

#[test]
fn outputs_become_one_value() {
    assert_eq!(evaluate("${ .a }").unwrap(), "3");
    assert_eq!(evaluate(".a, $item").unwrap(), "[3,7]");
    assert_eq!(evaluate("empty").unwrap(), "null");
    assert_eq!(evaluate(".a # why\\").unwrap(), "3");
    assert_eq!(
        evaluate("range(1e6)").unwrap_err(),
        "the expression has more than 100000 outputs"
    );
    assert!(evaluate("error(\"no\")").unwrap_err().contains("no"));
}

#[test]
fn simple_expressions_match_jq() {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(serde_json::json!(null)),
        any::<bool>().prop_map(Into::into),
        (-3_i64..4).prop_map(Into::into),
        (-3.0..3.0_f64).prop_map(Into::into),
        "[ab]{0,2}".prop_map(Into::into),
    ];
    let document = leaf.prop_recursive(3, 20, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|m| m.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    });
    let path = "(\\.|\\$item|\\$input)((\\.[ab]|\\.\"a\"|\\[\"b\"\\]|\\[-?[0-2]\\]){0,3})";
    let operand = prop_oneof![
        path.prop_map(|text| text.replace("..", ".")),
        "-?[0-9]{1,3}|\"[ab ]{0,2}\"|null|true|false",
    ];
    let code = (
        operand.clone(),
        prop::option::of(("==|!=|<|<=|>|>=", operand)),
    );
    let code = code.prop_map(|(left, right)| match right {
        None => left,
        Some((sign, right)) => format!("{left} {sign}{right}"),
    });
    let (read, compared) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    proptest!(ProptestConfig::with_cases(3_000), |(
        code in code,
        dot in document.clone(),
        item in document.clone(),
        input in document.clone(),
    )| {
        let Ok((filters, all)) = compile(&[&code]) else { return Ok(()); };
        let mut arguments = Arguments { values: Default::default(), now: 5.0 };
        let [dot, item, input] = [dot, item, input].map(|v| crate::value::from_json(&v));
        arguments.values[1] = input;
        let locals = [item];
        let by_jq = filters.filters[0].interpret(dot.clone(), &arguments, &locals);
        prop_assert_eq!(filters.evaluate(all[0], &dot, &arguments, &locals), by_jq, "{}", code);
        read.set(read.get() + usize::from(filters.filters[0].source.plain.is_some()));
        compared.set(compared.get() + 1);
    });
    // Most of them must be simple, or this would compare jq with itself.
    assert!(
        read.get() * 10 > compared.get() * 9,
        "{read:?} of {compared:?}"
    );
}

#[test]
fn complex_expressions_are_left_to_jq() {
    let plain = |code: &str| plain::read(code, &|name| (name == "$item").then_some(8)).is_some();
    for code in [
        ".",
        ".a.b",
        ".[\"a b\"][0]",
        "$item.a",
        " .a >= 3 ",
        "\"x\"",
        "-7",
        "null != .a",
    ] {
        assert!(plain(code), "{code}");
    }
    for code in [
        "..",
        ".a?",
        ".a | .b",
        ".a // 1",
        "1.5",
        "1e3",
        "\"\\(.a)\"",
        "$other",
        "$__loc__",
        ".[]",
        ".[1:2]",
        ".a[.b]",
        ".a and .b",
        "a::b",
        ".a == .b == .c",
        "not",
        "1234567890123456",
        "[.a]",
        "{a}",
        ".a # c",
        "- 1",
        "",
        "12abc",
    ] {
        assert!(!plain(code), "{code}");
    }
}

#[test]
fn io_functions_are_absent() {
    assert_eq!(evaluate("now").unwrap(), "5.0");
    for code in [
        "env",
        "$ENV",
        "input",
        "[inputs]",
        "stderr",
        "halt",
        "halt_error",
        "localtime",
        "include \"x\"; .",
        "$__loc__ | input_filename",
    ] {
        assert!(evaluate(code).unwrap_err().starts_with("jq: "), "{code}");
    }
}

#[test]
fn faults_have_line_and_column() {
    let codes = [".a", ".b |\n nope(1)", "$gone", ". +", "\"x", "1) else (2"];
    let mut faults: Vec<_> = compile(&codes)
        .unwrap_err()
        .into_iter()
        .map(|fault| format!("{} {}", fault.pointer, fault.detail))
        .collect();
    faults.sort();
    assert_eq!(
        faults,
        [
            "/1 jq: undefined filter nope at line 2, column 2 of `.b |\n nope(1)`",
            "/2 jq: undefined variable $gone at line 1, column 1 of `$gone`",
            "/3 jq: expected term at line 1, column 4 of `. +`",
            "/4 jq: expected the end of `\"` at line 1, column 3 of `\"x`",
            "/5 jq: expected token at line 1, column 2 of `1) else (2`",
        ]
    );
}

#[test]
fn filters_are_send_and_sync() {
    fn both<T: Send + Sync>() {}
    both::<Filters>();
}
