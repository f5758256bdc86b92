//! Suggestions for misspelt names.

/// The known name that is nearest to `name`, if it is a near miss.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name_length = name.chars().count();
    let distance = |other: &'a str| {
        let distance = strsim::osa_distance(&name.to_lowercase(), &other.to_lowercase());
        // One typing error in a short name, a third of the characters in a long one.
        let most = (name_length.max(other.chars().count()) / 3).max(1);
        (distance <= most && distance < name_length).then_some((distance, other))
    };
    let near = known.into_iter().filter_map(distance).min();
    near.map(|(_, other)| other)
}

/// `; did you mean …?`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    // Longer names are not typing errors, and comparing them costs time.
    if name.len() > 64 {
        return String::new();
    }
    match nearest(name, known) {
        Some(other) => format!("; did you mean `{other}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_suggested() {
        let near = |name| nearest(name, ["sendMail", "set", "switch", "charge"]);
        assert_eq!(near("snedMail"), Some("sendMail"));
        assert_eq!(near("sendmail"), Some("sendMail"));
        assert_eq!(near("st"), Some("set"));
        assert_eq!(near("chargeCard"), None);
        assert_eq!(near("x"), None);
        assert_eq!(
            did_you_mean("swich", ["switch"]),
            "; did you mean `switch`?"
        );
    }
}
