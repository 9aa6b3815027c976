//! What somebody may have meant.

use bifrost_boot::settings::distance;

/// The known name that is nearest to a mistyped one: a few letters off, else one that contains it.
#[must_use]
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let near = known
        .iter()
        .map(|known| (distance(&wanted, &known.to_lowercase()), *known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known);
    // Of one letter everything would do.
    let contains = |known: &&&str| wanted.len() >= 3 && known.to_lowercase().contains(&wanted);
    near.or_else(|| known.iter().find(contains).copied())
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        let known = ["greet", "onboard_user", "licence_report", "add"];
        for (name, wanted) in [
            ("gret", Some("greet")),
            ("Greet", Some("greet")),
            ("onboard_usr", Some("onboard_user")),
            ("onboard", Some("onboard_user")),
            ("license_report", Some("licence_report")),
            ("ad", Some("add")),
            ("x", None),
            ("something_else", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), wanted, "{name}");
        }
    }
}
