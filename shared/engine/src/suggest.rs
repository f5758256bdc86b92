//! Suggestions for misspelt names.

/// How many known names are compared: a definition may have thousands, and as many faults.
const MAX_KNOWN: usize = 400;

/// The known name that is nearest to `name`, if it is a near miss.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (name, name_length) = (name.to_lowercase(), name.chars().count());
    let distance = |other: &'a str| {
        let length = other.chars().count();
        // One typing error in a short name, a third of the characters in a long one.
        let most = (name_length.max(length) / 3).max(1);
        if name_length.abs_diff(length) > most {
            return None;
        }
        let distance = strsim::osa_distance(&name, &other.to_lowercase());
        (distance <= most && distance < name_length).then_some((distance, other))
    };
    let near = known.into_iter().take(MAX_KNOWN).filter_map(distance).min();
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
