//! What a person chose in the settings: language, theme and time zone. They are in a cookie of the
//! browser, and are no secret.

use axum::http::{HeaderMap, HeaderValue, header::ACCEPT_LANGUAGE};
use jiff::tz::TimeZone;

use crate::{cookies::cookie, localization::Language};

const COOKIE: &str = "aias-preferences";
const MAX_AGE_SECONDS: u32 = 365 * 24 * 3600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// As the browser prefers.
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub(crate) const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == name)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Preferences {
    pub(crate) language: Language,
    pub(crate) theme: Theme,
    /// An IANA name.
    pub(crate) zone_name: String,
    pub(crate) zone: TimeZone,
}

impl Preferences {
    /// From the cookie: `<language>.<theme>.<zone>`. Unknown values are the defaults.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = cookie(headers, COOKIE).unwrap_or_default();
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().unwrap_or_default();
        let (language, theme, zone) = (part(), part(), part());
        let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok());
        let language = Language::named(language)
            .unwrap_or_else(|| Language::accepted(accepted.unwrap_or_default()));
        Self::new(language, theme, zone)
    }

    pub(crate) fn new(language: Language, theme: &str, zone: &str) -> Self {
        let known = TimeZone::get(zone).ok().filter(|_| zone.len() <= 64);
        let (zone_name, zone) = match known {
            Some(known) => (zone.to_owned(), known),
            None => ("UTC".to_owned(), TimeZone::UTC),
        };
        Self {
            language,
            theme: Theme::named(theme).unwrap_or(Theme::Auto),
            zone_name,
            zone,
        }
    }

    pub(crate) fn cookie(&self) -> HeaderValue {
        let Self {
            language,
            theme,
            zone_name,
            ..
        } = self;
        let (language, theme) = (language.as_str(), theme.as_str());
        let text = format!(
            "{COOKIE}={language}.{theme}.{zone_name}; Path=/; Max-Age={MAX_AGE_SECONDS}; SameSite=Lax"
        );
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }
}
