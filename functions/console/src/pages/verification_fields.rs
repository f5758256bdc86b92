//! The fields that say how requests are verified: first the provider, then what it needs.

use aias_domain::verification::{Handshake, Verification, catalogue, scheme_names};
use maud::{Markup, html};
use serde_json::Value;

use crate::{
    client::present_members,
    failure::Result,
    form::{Fields, json_value},
    ui,
    visit::{Visit, t},
};

/// What an own scheme looks like.
const CUSTOM: &str = r#"{
  "signatures": [
    {"method": "hmac-sha256", "at": "header:x-signature", "prefix": "sha256=", "signed": "{body}"}
  ],
  "event_id": ["{body:/id}"],
  "event_type": ["{body:/type}"]
}"#;

/// The name of a provider.
pub(crate) fn title(visit: &Visit, scheme: &str) -> String {
    match catalogue::guide(scheme) {
        Some(guide) => guide.title,
        None => ui::word(visit, "provider", scheme),
    }
}

/// Whether requests are verified.
pub(crate) fn is_signed(scheme: &str) -> bool {
    matches!(scheme, "hmac" | "custom") || Verification::named(scheme).is_signed()
}

/// The provider that the query names, if there is one.
pub(crate) fn chosen(query: &Fields) -> Option<&'static str> {
    let provider = query.get("provider");
    scheme_names().into_iter().find(|name| *name == provider)
}

/// The providers, each with a link to its form.
pub(crate) fn choice(visit: &Visit, path: &str) -> Markup {
    html! {
        p { (t!(visit, "choose-provider")) }
        ul.cards {
            @for name in scheme_names() {
                li { a href=(format!("{path}?provider={name}")) { bdi { (title(visit, name)) } } }
            }
        }
    }
}

/// The fields of a provider, with this label of the secret.
pub(crate) fn fields(visit: &Visit, provider: &str, form: &Fields, secret: &str) -> Markup {
    let has_token = Verification::named(provider)
        .scheme()
        .is_ok_and(|own| own.has(Handshake::HubChallenge));
    let words = |words: &[&str]| -> Vec<(String, String)> {
        let both = |word: &&str| ((*word).to_owned(), (*word).to_owned());
        words.iter().map(both).collect()
    };
    let custom = match form.raw("custom") {
        "" => CUSTOM,
        entered => entered,
    };
    html! {
        input type="hidden" name="scheme" value=(provider);
        @if provider == "hmac" {
            (ui::input("header", &t!(visit, "signature-header"), form.raw("header"), "text"))
            (ui::select("algorithm", &t!(visit, "algorithm"), form.get("algorithm"), &words(&["sha256", "sha1", "sha512"])))
            (ui::select("encoding", &t!(visit, "encoding"), form.get("encoding"), &words(&["hex", "base64"])))
            (ui::input("prefix", &t!(visit, "signature-prefix"), form.raw("prefix"), "text"))
            (ui::input("event_id_header", &t!(visit, "event-id-header"), form.raw("event_id_header"), "text"))
        }
        @if provider == "custom" {
            p.note { a href="/dashboard/docs/sources" { (t!(visit, "custom-scheme-explained")) } }
            label { (t!(visit, "custom-scheme")) textarea name="custom" rows="10" spellcheck="false" { "\n" (custom) } }
        }
        @if has_token { (ui::input("verify_token", &t!(visit, "verify-token"), form.raw("verify_token"), "text")) }
        @if is_signed(provider) { (ui::input("secret", secret, "", "password")) }
    }
}

/// The `verification` of a request, from these fields.
pub(crate) fn members(visit: &Visit, form: &Fields) -> Result<Value> {
    let names = [
        "scheme",
        "header",
        "algorithm",
        "encoding",
        "prefix",
        "event_id_header",
        "verify_token",
        "secret",
    ];
    let mut members = present_members(names.map(|name| (name, form.get(name).into())));
    if form.get("scheme") == "custom" {
        members["custom"] = json_value(visit, &t!(visit, "custom-scheme"), form.raw("custom"))?;
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use aias_domain::verification::Scheme;

    use super::*;

    #[test]
    fn example_of_an_own_scheme_is_valid() {
        let custom: Scheme = serde_json::from_str(CUSTOM).unwrap();
        let verification = Verification {
            custom: Some(Box::new(custom)),
            ..Verification::named("custom")
        };
        assert!(verification.is_signed());
    }
}
