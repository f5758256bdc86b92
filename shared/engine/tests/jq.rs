//! Expressions have jq's meaning; differences are listed (`docs/engine.md`).

#![expect(clippy::unwrap_used, reason = "a test")]

use aias_engine::{Control, Host, Input, Outcome, Program, Record, Start};
use serde_json::{Value, json};

struct Silent;

impl Host for Silent {
    fn step(&mut self, _: Record) -> Control {
        Control::Continue
    }
}

/// All outputs of an expression, or its error.
fn outputs(code: &str) -> Result<Value, String> {
    let definition = json!({
        "document": {"dsl": "1.0.0", "namespace": "a", "name": "b", "version": "1.0.0"},
        "do": [{"a": {"set": format!("${{ [{code}] }}")}}],
    });
    let program = Program::compile(&definition).map_err(|faults| faults[0].detail.clone())?;
    let start = Start {
        id: "r",
        input: Input::Value(&json!({"a": 1, "s": "a,b", "xs": [1, 2, 3], "o": {"k": 1}})),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        max_steps: 10,
        journal: &[],
        secret_nonce: "",
    };
    match program.run(&start, &mut Silent) {
        Outcome::Completed(output) => Ok(output),
        Outcome::Faulted(error) => Err(aias_domain::run::RunError::from(error).detail.unwrap()),
        Outcome::Waiting(requested) => Err(format!("{requested:?}")),
    }
}

/// Results of jq 1.7.
#[test]
fn expressions_match_jq() {
    for (code, expected) in [
        (".b // 1", json!([1])),
        (".xs | add, map(. * 2)", json!([6, [2, 4, 6]])),
        (
            ".o | to_entries, with_entries(.value += 1)",
            json!([[{"key": "k", "value": 1}], {"k": 2}]),
        ),
        ("[foreach .xs[] as $x (0; . + $x)]", json!([[1, 3, 6]])),
        (
            ".s | split(\",\"), test(\"B\"; \"i\"), sub(\"a\"; \"z\")",
            json!([["a", "b"], true, "z,b"]),
        ),
        (".s | capture(\"(?<first>[a-z]),\").first", json!(["a"])),
        (
            "\"2015-03-05T23:51:47Z\" | fromdateiso8601",
            json!([1_425_599_507]),
        ),
        (
            "1700000000 | todate, strftime(\"%Y-%m-%d\")",
            json!(["2023-11-14T22:13:20Z", "2023-11-14"]),
        ),
        ("100000000000000000001", json!([1e20])),
        ("del(.xs[0, 1]).xs", json!([[3]])),
        ("del(.o, .s) | keys", json!([["a", "xs"]])),
        ("[1, null, \"a\", true] | join(\",\")", json!(["1,,a,true"])),
        ("[] | join(\",\")", json!([""])),
        (
            "[[1, \"a\\\"b\", null, true] | @csv, @tsv]",
            json!([["1,\"a\"\"b\",,true", "1\ta\"b\t\ttrue"]]),
        ),
        ("[\"a\\tb\\\\c\"] | @tsv", json!(["a\\tb\\\\c"])),
        (".xs | IN([1], [1, 2, 3])", json!([true])),
        ("2 | IN(1, 2)", json!([true])),
        ("[{\"id\": 7}] | INDEX(.id)", json!([{"7": {"id": 7}}])),
        ("[.o | leaf_paths]", json!([[["k"]]])),
        (
            "{\"a\": [1, {}]} | [tostream]",
            json!([[[["a", 0], 1], [["a", 1], {}], [["a", 1]], [["a"]]]]),
        ),
        ("fromstream(tostream) == .", json!([true])),
        ("fromstream(1 | tostream)", json!([1])),
        (
            "null | setpath([\"a\", 2]; 1), setpath([]; 3)",
            json!([{"a": [null, null, 1]}, 3]),
        ),
        ("label $out | 1, break $out, 2", json!([1])),
        ("[limit(3; repeat(1))]", json!([[1, 1, 1]])),
        ("try error({\"a\": 1}) catch .a", json!([1])),
        (".xs | @json, (.[0] | @base64)", json!(["[1,2,3]", "MQ=="])),
        ("@uri \"x=\\(.s)\"", json!(["x=a%2Cb"])),
    ] {
        assert_eq!(outputs(code), Ok(expected), "{code}");
    }
}

/// Differences, with the result of jq 1.7.
#[test]
fn differences_from_jq_are_listed() {
    for (code, here, _jq) in [
        (
            "infinite | tostring",
            json!(["Infinity"]),
            "1.7976931348623157e+308",
        ),
        (
            "[1e1000] | tojson",
            json!(["[1e1000]"]),
            "[1.7976931348623157e+308]",
        ),
        (
            "9007199254740993 + 0",
            json!([9_007_199_254_740_993_i64]),
            "9007199254740992",
        ),
    ] {
        assert_eq!(outputs(code), Ok(here), "{code}");
    }
    for (code, _jq) in [
        ("ltrimstr(\"x\")", "the input, when it is not a string"),
        (
            "\"10:15\" | strptime(\"%H:%M\")",
            "a broken-down time of 1900",
        ),
        ("0 | gmtime | todate", "1970-01-01T00:00:00Z"),
        ("$__loc__", "the location in the program"),
        ("{} | .a.b = 1", "{\"a\":{\"b\":1}}"),
        ("[] | .[1] = 1", "[null,1]"),
        ("input_line_number", "a number"),
        ("get_search_list", "the module path"),
        ("ascii(65)", "A"),
    ] {
        assert!(outputs(code).is_err(), "{code}");
    }
}
