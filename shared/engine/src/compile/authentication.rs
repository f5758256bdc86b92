//! Authentication policies of a definition.

use serde_json::{Value, json};

use crate::{
    compile::Compiler,
    endpoint::check,
    expression::expression_in,
    journal::{Authentication, OAuth2},
    reader::{Members, Node},
    suggest::did_you_mean,
    template::Template,
};

/// A policy whose strings may be expressions.
#[derive(Debug)]
pub(crate) enum Policy {
    Basic {
        username: Template,
        password: Template,
    },
    Bearer(Template),
    Digest {
        username: Template,
        password: Template,
    },
    OAuth2(Box<TokenRequest>),
    Secret {
        scheme: &'static str,
        name: String,
    },
}

#[derive(Debug)]
pub(crate) struct TokenRequest {
    authority: Template,
    token_path: Option<Template>,
    basic: bool,
    json: bool,
    form: Vec<(&'static str, Template)>,
    client: (Option<Template>, Option<Template>),
}

impl Policy {
    /// Evaluates the expressions of a policy.
    pub(crate) fn fill<E>(
        &self,
        text: &mut impl FnMut(&Template) -> Result<String, E>,
    ) -> Result<Authentication, E> {
        Ok(match self {
            Self::Basic { username, password } => Authentication::Basic {
                username: text(username)?,
                password: text(password)?,
            },
            Self::Bearer(token) => Authentication::Bearer {
                token: text(token)?,
            },
            Self::Digest { username, password } => Authentication::Digest {
                username: text(username)?,
                password: text(password)?,
            },
            Self::OAuth2(request) => {
                let form = request.form.iter();
                let form: Result<_, E> = form
                    .map(|(name, value)| Ok(((*name).to_owned(), text(value)?)))
                    .collect();
                let (id, secret) = &request.client;
                Authentication::OAuth2(Box::new(OAuth2 {
                    authority: text(&request.authority)?,
                    token_path: request.token_path.as_ref().map(&mut *text).transpose()?,
                    basic: request.basic,
                    json: request.json,
                    form: form?,
                    client: (
                        id.as_ref().map(&mut *text).transpose()?,
                        secret.as_ref().map(&mut *text).transpose()?,
                    ),
                }))
            }
            Self::Secret { scheme, name } => Authentication::Secret {
                scheme: (*scheme).to_owned(),
                name: name.clone(),
            },
        })
    }
}

/// The policy that the value of a secret configures, for the scheme in the definition. A string is
/// a bearer token.
///
/// # Errors
///
/// What is wrong with the value, without any part of it.
pub fn of_secret(scheme: &str, value: &Value) -> Result<Authentication, String> {
    let configuration = match value.as_str() {
        Some(token) if scheme == "bearer" => json!({ "token": token }),
        Some(_) | None => value.clone(),
    };
    let document = json!({ (scheme): configuration });
    let mut compiler = Compiler::default();
    let policy = compiler.policy(&[], &Node::root(&document));
    let (policy, _) = compiler.faults.into_result(policy).map_err(|faults| {
        let messages = faults.into_iter().map(|f| {
            // A detail may contain the value; a pointer only contains member names.
            let member = f.pointer.rsplit('/').next().unwrap_or_default().to_owned();
            format!("`{member}` is not valid in a `{scheme}` policy")
        });
        messages.collect::<Vec<_>>().join("; ")
    })?;
    let text = &mut |template: &Template| {
        let text = template.constant_text();
        text.ok_or_else(|| "a secret cannot contain an expression".to_owned())
    };
    match policy {
        Some(Policy::Secret { .. }) | None => {
            Err(format!("the value is not a `{scheme}` configuration"))
        }
        Some(policy) => policy.fill(text),
    }
}

const SCHEMES: [&str; 5] = ["basic", "bearer", "digest", "oauth2", "oidc"];

/// The DSL's default path of the OAuth 2 token endpoint.
const TOKEN_PATH: &str = "/oauth2/token";

impl<'a> Compiler<'a> {
    /// A policy, or a reference to one: `{use: …}`.
    pub(crate) fn referenced_policy(
        &mut self,
        locals: &[String],
        node: &Node<'a>,
    ) -> Option<Policy> {
        let members = node.any_object(&mut self.faults)?;
        let Some(name) = members.get("use") else {
            return self.policy(locals, node);
        };
        node.object(&mut self.faults, &["use"], &[]);
        let text = name.text(&mut self.faults)?;
        let Some(declared) = self.authentications.get(text).cloned() else {
            let near = did_you_mean(text, self.authentications.keys().copied());
            let detail = format!("`use.authentications` has no `{text:.64}`{near}");
            name.fault(&mut self.faults, detail);
            return None;
        };
        self.policy(locals, &declared)
    }

    pub(crate) fn policy(&mut self, locals: &[String], node: &Node<'a>) -> Option<Policy> {
        let members = node.object(&mut self.faults, &SCHEMES, &[])?;
        let found: Vec<_> = SCHEMES
            .into_iter()
            .filter_map(|scheme| Some((scheme, members.get(scheme)?)))
            .collect();
        let [(scheme, configuration)] = found.as_slice() else {
            let detail = format!("must have one of: {}", SCHEMES.join(", "));
            node.fault(&mut self.faults, detail);
            return None;
        };
        let own = configuration.any_object(&mut self.faults)?;
        if let Some(name) = own.get("use") {
            configuration.object(&mut self.faults, &["use"], &[]);
            let name_text = name.text(&mut self.faults)?;
            if !self.secrets.contains(name_text) {
                let near = did_you_mean(name_text, self.secrets.iter().copied());
                let detail = format!("`use.secrets` does not declare `{name_text:.64}`{near}");
                name.fault(&mut self.faults, detail);
            }
            return Some(Policy::Secret {
                scheme,
                name: name_text.to_owned(),
            });
        }
        match *scheme {
            "basic" | "digest" => {
                let names = ["username", "password"];
                let own = configuration.object(&mut self.faults, &names, &names)?;
                let username = self.text(locals, own.get("username"));
                let password = self.text(locals, own.get("password"));
                let (username, password) = (username?, password?);
                Some(if *scheme == "basic" {
                    Policy::Basic { username, password }
                } else {
                    Policy::Digest { username, password }
                })
            }
            "bearer" => {
                let own = configuration.object(&mut self.faults, &["token"], &["token"])?;
                Some(Policy::Bearer(self.text(locals, own.get("token"))?))
            }
            _ => self.token_request(locals, configuration, *scheme == "oidc"),
        }
    }

    fn text(&mut self, locals: &[String], node: Option<Node<'a>>) -> Option<Template> {
        let node = node?;
        node.text(&mut self.faults)?;
        Some(self.template(locals, &node))
    }

    fn one_of(&mut self, node: Option<Node<'a>>, allowed: &[&str]) -> Option<&'a str> {
        let node = node?;
        let text = node.text(&mut self.faults)?;
        if !allowed.contains(&text) {
            let detail = format!("not supported: one of {}", allowed.join(", "));
            node.fault(&mut self.faults, detail);
        }
        Some(text)
    }

    fn token_request(
        &mut self,
        locals: &[String],
        node: &Node<'a>,
        discovered: bool,
    ) -> Option<Policy> {
        const ALLOWED: [&str; 12] = [
            "authority",
            "grant",
            "client",
            "request",
            "issuers",
            "scopes",
            "audiences",
            "username",
            "password",
            "subject",
            "actor",
            "endpoints",
        ];
        let allowed = ALLOWED.get(..ALLOWED.len() - usize::from(discovered));
        let own = node.object(
            &mut self.faults,
            allowed.unwrap_or_default(),
            &["authority", "grant"],
        )?;
        let authority = own.get("authority");
        if let Some(authority) = &authority
            && let Some(text) = authority.text(&mut self.faults)
            && expression_in(text).is_none()
            && let Err(why) = check(text)
        {
            authority.fault(&mut self.faults, why);
        }
        let mut form = Vec::new();
        let grants = [
            "client_credentials",
            "password",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ];
        self.one_of(own.get("grant"), &grants);
        form.push(("grant_type", self.text(locals, own.get("grant"))?));
        for (name, list) in [
            ("scope", "scopes"),
            ("audience", "audiences"),
            ("", "issuers"),
        ] {
            let Some(node) = own.get(list) else { continue };
            let items = node.array(&mut self.faults).unwrap_or_default();
            let texts: Vec<_> = items
                .iter()
                .filter_map(|i| i.text(&mut self.faults))
                .collect();
            if !name.is_empty() {
                let joined = Value::String(texts.join(" "));
                form.push((name, Template::constant(&joined)));
            }
        }
        for name in ["username", "password"] {
            if let Some(value) = self.text(locals, own.get(name)) {
                form.push((name, value));
            }
        }
        for (role, names) in [
            ("subject", ["subject_token", "subject_token_type"]),
            ("actor", ["actor_token", "actor_token_type"]),
        ] {
            let Some(node) = own.get(role) else { continue };
            let Some(token) = node.object(&mut self.faults, &["token", "type"], &["token", "type"])
            else {
                continue;
            };
            for (name, member) in names.into_iter().zip(["token", "type"]) {
                if let Some(value) = self.text(locals, token.get(member)) {
                    form.push((name, value));
                }
            }
        }
        let (client, basic) = self.client(locals, own.get("client"), &mut form);
        let json = self.encoding(own.get("request"));
        let token_path = self.token_path(locals, &own, discovered);
        Some(Policy::OAuth2(Box::new(TokenRequest {
            authority: self.text(locals, authority)?,
            token_path,
            basic,
            json,
            form,
            client,
        })))
    }

    fn client(
        &mut self,
        locals: &[String],
        node: Option<Node<'a>>,
        form: &mut Vec<(&'static str, Template)>,
    ) -> ((Option<Template>, Option<Template>), bool) {
        const ALLOWED: [&str; 4] = ["id", "secret", "assertion", "authentication"];
        const METHODS: [&str; 5] = [
            "client_secret_post",
            "client_secret_basic",
            "client_secret_jwt",
            "private_key_jwt",
            "none",
        ];
        let Some(members) = node.and_then(|n| n.object(&mut self.faults, &ALLOWED, &[])) else {
            return ((None, None), false);
        };
        let method = self.one_of(members.get("authentication"), &METHODS);
        let id = self.text(locals, members.get("id"));
        let secret = self.text(locals, members.get("secret"));
        let signed = matches!(method, Some("client_secret_jwt" | "private_key_jwt"));
        if signed && !members.has("assertion") {
            let detail = "not supported: sign the `assertion` yourself and put it here";
            members.fault(&mut self.faults, detail);
        }
        if let Some(assertion) = self.text(locals, members.get("assertion")) {
            // RFC 7523, section 2.2.
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            let kind = Template::constant(&Value::String(kind.to_owned()));
            form.push(("client_assertion_type", kind));
            form.push(("client_assertion", assertion));
        }
        ((id, secret), method == Some("client_secret_basic"))
    }

    fn encoding(&mut self, node: Option<Node<'a>>) -> bool {
        let Some(members) = node.and_then(|n| n.object(&mut self.faults, &["encoding"], &[]))
        else {
            return false;
        };
        let encodings = ["application/x-www-form-urlencoded", "application/json"];
        self.one_of(members.get("encoding"), &encodings) == Some("application/json")
    }

    fn token_path(
        &mut self,
        locals: &[String],
        own: &Members<'a>,
        discovered: bool,
    ) -> Option<Template> {
        if discovered {
            return None;
        }
        let allowed = ["token", "revocation", "introspection"];
        let members = own
            .get("endpoints")
            .and_then(|n| n.object(&mut self.faults, &allowed, &[]));
        if let Some(members) = &members {
            for name in ["revocation", "introspection"] {
                members.get(name).and_then(|n| n.text(&mut self.faults));
            }
        }
        let token = members.and_then(|members| members.get("token"));
        let default = || Template::constant(&Value::String(TOKEN_PATH.to_owned()));
        self.text(locals, token).or_else(|| Some(default()))
    }
}
