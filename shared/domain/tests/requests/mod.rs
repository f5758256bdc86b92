//! Signed requests of the schemes that most endpoints have, with bodies of any size.

use aias_domain::{
    event::Request,
    verification::{Algorithm, HmacOptions, Scheme, Values, Verification, digest, verify},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;

pub(crate) const SCHEMES: [&str; 6] = [
    "github",
    "hmac",
    "shopify",
    "slack",
    "standard-webhooks",
    "stripe",
];

pub(crate) const KEY: &[u8] = b"a key of 32 bytes, or about that";
const SECONDS: i64 = 1_795_000_000;

/// A request of a scheme.
pub(crate) struct Signed {
    scheme: Scheme,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Signed {
    #[must_use]
    pub(crate) fn new(name: &str, bytes: usize) -> Self {
        let body = vec![b'x'; bytes];
        let at = SECONDS.to_string();
        let sign = |before: &str| digest(Algorithm::Sha256, KEY, &[before.as_bytes(), &body]);
        let headers = match name {
            "github" => vec![(
                "x-hub-signature-256",
                format!("sha256={}", hex::encode(sign(""))),
            )],
            "hmac" => vec![("x-signature", hex::encode(sign("")))],
            "shopify" => vec![("x-shopify-hmac-sha256", STANDARD.encode(sign("")))],
            "slack" => {
                let signature = hex::encode(sign(&format!("v0:{at}:")));
                vec![
                    ("x-slack-signature", format!("v0={signature}")),
                    ("x-slack-request-timestamp", at),
                ]
            }
            "standard-webhooks" => {
                let signature = STANDARD.encode(sign(&format!("msg_1.{at}.")));
                vec![
                    ("webhook-signature", format!("v1,{signature}")),
                    ("webhook-id", "msg_1".to_owned()),
                    ("webhook-timestamp", at),
                ]
            }
            "stripe" => {
                let signature = hex::encode(sign(&format!("{at}.")));
                vec![("stripe-signature", format!("t={at},v1={signature}"))]
            }
            other => panic!("no request of {other}"),
        };
        let hmac = HmacOptions {
            header: (name == "hmac").then(|| "x-signature".to_owned()),
            ..HmacOptions::default()
        };
        let verification = Verification {
            hmac,
            ..Verification::named(name)
        };
        Self {
            scheme: verification.scheme().unwrap(),
            headers,
            body,
        }
    }

    /// Verifies the request as intake does.
    #[must_use]
    pub(crate) fn is_verified(&self, keys: &[Vec<u8>]) -> bool {
        let headers = self.headers.iter();
        let request = Request {
            method: "POST",
            url: "https://aias.example/api/webhooks/t/s",
            headers: headers.map(|(name, value)| (*name, &**value)).collect(),
            query: "",
            body: &self.body,
        };
        let now = Timestamp::from_second(SECONDS).unwrap();
        verify(&self.scheme, keys, &Values::new(&request), now).is_ok()
    }
}
