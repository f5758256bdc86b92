//! Texts of the pages in the languages of `locales/`, by Fluent.

use std::{borrow::Cow, sync::OnceLock};

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

type Bundle = FluentBundle<FluentResource>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    German,
    /// English with accents, in brackets: shows which texts are not in the locale files.
    Pseudo,
}

impl Language {
    /// The languages that people can choose.
    pub(crate) const OFFERED: [Self; 2] = [Self::English, Self::German];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::Pseudo => "en-XA",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
            Self::Pseudo => "Pseudo",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::English, Self::German, Self::Pseudo]
            .into_iter()
            .find(|language| language.as_str() == name)
    }

    /// The first language of `Accept-Language` that is offered. Browsers list them by preference.
    pub(crate) fn accepted(header: &str) -> Self {
        let ranges = header.split([',', ';']).map(str::trim);
        let mut languages = ranges.filter_map(|range| range.split('-').next());
        languages
            .find_map(|name| {
                let mut offered = Self::OFFERED.into_iter();
                offered.find(|language| language.as_str().eq_ignore_ascii_case(name))
            })
            .unwrap_or(Self::English)
    }

    fn bundle(self) -> &'static Bundle {
        static ENGLISH: OnceLock<Bundle> = OnceLock::new();
        static GERMAN: OnceLock<Bundle> = OnceLock::new();
        static PSEUDO: OnceLock<Bundle> = OnceLock::new();
        const ENGLISH_TEXTS: &str = include_str!("../locales/en.ftl");
        match self {
            Self::English => ENGLISH.get_or_init(|| bundle("en", ENGLISH_TEXTS)),
            Self::German => GERMAN.get_or_init(|| bundle("de", include_str!("../locales/de.ftl"))),
            Self::Pseudo => PSEUDO.get_or_init(|| {
                let mut made = bundle("en", ENGLISH_TEXTS);
                made.set_transform(Some(accented));
                made
            }),
        }
    }

    /// A text with arguments. An unknown id is returned as it is.
    pub(crate) fn text(self, id: &str, arguments: &[(&'static str, FluentValue<'_>)]) -> String {
        let bundle = self.bundle();
        let Some(pattern) = bundle.get_message(id).and_then(|found| found.value()) else {
            tracing::error!(event = "text_missing", id);
            return id.to_owned();
        };
        let mut errors = Vec::new();
        let arguments: FluentArgs<'_> = arguments.iter().cloned().collect();
        let text = bundle.format_pattern(pattern, Some(&arguments), &mut errors);
        match self {
            Self::Pseudo => format!("[{text}]"),
            Self::English | Self::German => text.into_owned(),
        }
    }

    /// Whether there is a text with this id: for words of the API that may be unknown.
    pub(crate) fn has(self, id: &str) -> bool {
        self.bundle().has_message(id)
    }

    /// A text of the catalogue of sources, which is in English, in another language.
    pub(crate) fn of_source(self, english: &str) -> Option<&'static str> {
        match self {
            Self::English | Self::Pseudo => None,
            Self::German => source_texts().find(|(text, _)| *text == english),
        }
        .map(|(_, translated)| translated)
    }

    /// A whole number with separated thousands.
    pub(crate) fn number(self, number: u64) -> String {
        let digits = number.to_string();
        let separator = match self {
            Self::English | Self::Pseudo => ',',
            Self::German => '.',
        };
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(separator);
            }
            text.push(digit);
        }
        text
    }
}

/// The texts of the catalogue of sources in English and German.
fn source_texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let texts = include_str!("../locales/sources.de.txt").trim_end();
    texts.split("\n\n").filter_map(|pair| pair.split_once('\n'))
}

fn bundle(language: &str, texts: &str) -> Bundle {
    let language: LanguageIdentifier = language.parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![language]);
    bundle.set_use_isolating(false);
    // A file with an error still has its other texts; a test refuses it.
    let resource = FluentResource::try_new(texts.to_owned()).unwrap_or_else(|(partial, _)| partial);
    let _ = bundle.add_resource(resource);
    bundle
}

fn accented(text: &str) -> Cow<'_, str> {
    let accent = |letter| match letter {
        'a' => 'á',
        'e' => 'é',
        'i' => 'í',
        'o' => 'ó',
        'u' => 'ú',
        other => other,
    };
    text.chars().map(accent).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use aias_domain::verification::{catalogue, scheme_names};
    use fluent_bundle::FluentResource;

    use super::*;

    const FILES: [&str; 2] = [
        include_str!("../locales/en.ftl"),
        include_str!("../locales/de.ftl"),
    ];

    fn ids(text: &str) -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.split_once(" ="));
        let ids = lines.map(|(id, _)| id.to_owned());
        ids.filter(|id| !id.starts_with([' ', '#', '-', '.']))
            .collect()
    }

    #[test]
    fn every_text_is_in_every_language_once() {
        for text in FILES {
            let parsed = FluentResource::try_new(text.to_owned());
            assert!(parsed.is_ok(), "{:?}", parsed.unwrap_err().1);
            let lines = text.lines().filter(|line| {
                line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" =")
            });
            assert_eq!(lines.count(), ids(text).len(), "an id occurs twice");
        }
        let [english, german] = FILES.map(ids);
        assert_eq!(english, german);
    }

    /// The ids in calls of the macro `t`.
    fn used(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                used(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            // The first argument is the visit, the second one the id or an expression with ids.
            for call in text
                .split([' ', '(', '&'])
                .filter(|call| call.starts_with("t!"))
            {
                let at = call.as_ptr() as usize - text.as_ptr() as usize;
                let arguments = text.get(at..).unwrap_or_default();
                let arguments = arguments.split(')').next().unwrap_or_default();
                let mut parts = arguments.split('"');
                let is_comparison = parts.next().unwrap_or_default().contains("==");
                let id = parts.next().unwrap_or_default();
                if !is_comparison && !id.is_empty() && !id.contains(['{', ':']) {
                    found.insert(id.to_owned());
                }
            }
        }
    }

    #[test]
    fn every_used_text_exists() {
        let mut found = BTreeSet::new();
        used(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut found,
        );
        let known = ids(FILES[0]);
        let missing: Vec<_> = found.difference(&known).collect();
        assert!(found.len() > 100 && missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_text_of_the_catalogue_is_translated() {
        let known: BTreeSet<&str> = source_texts().map(|(english, _)| english).collect();
        assert_eq!(source_texts().count(), known.len(), "a text occurs twice");
        let guides = scheme_names().into_iter().filter_map(catalogue::guide);
        let used: BTreeSet<String> = guides
            .flat_map(|guide| guide.steps.into_iter().chain(guide.caution))
            .collect();
        let used: BTreeSet<&str> = used.iter().map(String::as_str).collect();
        assert!(used.len() > 100);
        assert_eq!(used, known, "complete locales/sources.de.txt");
        assert_eq!(
            Language::German.of_source("Choose topics."),
            Some("Wählen Sie Topics.")
        );
    }

    #[test]
    fn language_is_the_first_offered_one() {
        for (header, language) in [
            ("de-AT,de;q=0.9,en;q=0.8", Language::German),
            ("fr,en;q=0.8,de;q=0.7", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
        assert_eq!(Language::German.number(1_234_567), "1.234.567");
        assert_eq!(Language::English.number(123), "123");
    }
}
