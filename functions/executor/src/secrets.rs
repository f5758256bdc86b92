//! Replaces secret placeholders in a request by their values, just before it is sent.

use std::collections::{BTreeMap, BTreeSet};

use aias_domain::secret::{SecretName, fill_placeholders, placeholder_names};
use aias_engine::journal::{Authentication, EffectResult, Failure, HttpRequest, OAuth2};
use aias_platform::{
    outbound::Redactions,
    secrets::Keyrings,
    store::{self, TenantStore},
    tenant_secrets,
};
use futures_util::future::try_join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::App;

/// Why the secrets of a request are not available now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Keyring(#[from] aias_platform::secrets::Error),
}

/// A request that is ready to be sent, and the strings to redact from its response.
pub(crate) struct FilledRequest {
    pub(crate) request: HttpRequest,
    pub(crate) redactions: Redactions,
}

impl std::fmt::Debug for FilledRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The request contains secret values.
        f.write_str("FilledRequest")
    }
}

type Values = BTreeMap<SecretName, Value>;

/// The encoding of a placeholder's context.
#[derive(Clone, Copy)]
enum Spelling {
    Plain,
    Json,
    Percent,
}

/// Fills a request with its secrets, or returns the failure of a request whose secrets do not
/// exist.
pub(crate) async fn fill(
    app: &App,
    store: &TenantStore<'_>,
    secret_nonce: &str,
    request: &HttpRequest,
) -> Result<Result<FilledRequest, EffectResult>, Error> {
    let mut request = request.clone();
    let mut names = BTreeSet::new();
    if let Some(Authentication::Secret { name, .. }) = &request.authentication
        && let Ok(name) = name.parse()
    {
        names.insert(name);
    }
    // A run without a nonce uses no secret.
    if !secret_nonce.is_empty() {
        for (text, _) in texts(&mut request) {
            names.extend(placeholder_names(text, secret_nonce));
        }
    }
    let mut redactions = Redactions::default();
    if names.is_empty() {
        return Ok(Ok(FilledRequest {
            request,
            redactions,
        }));
    }
    let values = match values(store, &app.keyrings, names).await? {
        Ok(values) => values,
        Err(missing) => {
            let detail = format!("the tenant has no secret `{missing}`");
            return Ok(Err(failed("authentication", 401, detail)));
        }
    };
    values.values().for_each(|value| redactions.add(value));
    if let Some(Authentication::Secret { scheme, name }) = &request.authentication {
        let value = name.parse().ok().and_then(|name| values.get(&name));
        match aias_engine::of_secret(scheme, value.unwrap_or(&Value::Null)) {
            Ok(policy) => request.authentication = Some(policy),
            Err(why) => {
                let detail = format!("the secret `{name}` cannot be used: {why}");
                return Ok(Err(failed("configuration", 400, detail)));
            }
        }
    }
    for (text, spelling) in texts(&mut request) {
        let filled = fill_placeholders(text, secret_nonce, |name| {
            Ok::<_, ()>(spelled(&values, name, spelling))
        });
        if let Ok(filled) = filled {
            *text = filled;
        }
    }
    Ok(Ok(FilledRequest {
        request,
        redactions,
    }))
}

async fn values(
    store: &TenantStore<'_>,
    keyrings: &Keyrings,
    names: BTreeSet<SecretName>,
) -> Result<Result<Values, SecretName>, Error> {
    let keyring = keyrings.get().await?;
    let reads = names.into_iter().map(async |name| {
        let found = store.secret(&name).await?;
        Ok::<_, Error>((name, found))
    });
    let mut values = Values::new();
    for (name, found) in try_join_all(reads).await? {
        let Some(found) = found else {
            return Ok(Err(name));
        };
        let value = tenant_secrets::open(&keyring, store.tenant_id(), &name, &found.value)?;
        values.insert(name, value);
    }
    Ok(Ok(values))
}

fn failed(kind: &str, status: u16, detail: String) -> EffectResult {
    let title = if status == 401 {
        "Authentication Error"
    } else {
        "Configuration Error"
    };
    EffectResult::Failed(Failure {
        kind: kind.to_owned(),
        status,
        title: title.to_owned(),
        detail,
    })
}

fn spelled(values: &Values, name: &SecretName, spelling: Spelling) -> String {
    let text = match values.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    match spelling {
        Spelling::Plain => text,
        Spelling::Json => {
            let json = Value::from(text).to_string();
            json.get(1..json.len() - 1).unwrap_or_default().to_owned()
        }
        Spelling::Percent => utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string(),
    }
}

/// The strings of a request that may contain placeholders, with their encoding.
fn texts(request: &mut HttpRequest) -> Vec<(&mut String, Spelling)> {
    let mut content_types = request.headers.iter().filter(|(n, _)| n == "content-type");
    let of_body = match content_types.next().map(|(_, value)| value.as_str()) {
        Some(kind) if kind.contains("json") => Spelling::Json,
        Some(kind) if kind.contains("x-www-form-urlencoded") => Spelling::Percent,
        _ => Spelling::Plain,
    };
    let mut texts = vec![(&mut request.uri, Spelling::Percent)];
    let values = request.headers.iter_mut().map(|(_, value)| value);
    texts.extend(values.map(|value| (value, Spelling::Plain)));
    texts.extend(request.body.as_mut().map(|body| (body, of_body)));
    if let Some(authentication) = &mut request.authentication {
        let own = of_policy(authentication).into_iter();
        texts.extend(own.map(|text| (text, Spelling::Plain)));
    }
    texts
}

fn of_policy(authentication: &mut Authentication) -> Vec<&mut String> {
    match authentication {
        Authentication::Basic { username, password }
        | Authentication::Digest { username, password } => vec![username, password],
        Authentication::Bearer { token } => vec![token],
        Authentication::OAuth2(policy) => {
            let OAuth2 {
                authority,
                token_path,
                basic: _,
                json: _,
                form,
                client: (id, secret),
            } = policy.as_mut();
            let mut texts = vec![authority];
            texts.extend(token_path);
            texts.extend(form.iter_mut().map(|(_, value)| value));
            texts.extend(id);
            texts.extend(secret);
            texts
        }
        Authentication::Secret { .. } => Vec::new(),
    }
}
