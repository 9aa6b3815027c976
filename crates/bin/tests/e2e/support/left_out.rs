//! What a machine does not let its tests do.

/// Of a test that cannot be made here. It has not passed, unless whoever runs the tests said that this may be left out.
///
/// # Panics
/// Without `TESTS_WITHOUT_WALLS=1`.
#[track_caller]
pub(crate) fn leave_out(what: &str) {
    #[expect(clippy::disallowed_methods, reason = "a switch of a run of the tests, not a setting")]
    let is_allowed = std::env::var("TESTS_WITHOUT_WALLS").is_ok_and(|value| value == "1");
    assert!(
        is_allowed,
        "{what}. Run it as root where namespaces and mounts are permitted, or with TESTS_WITHOUT_WALLS=1 (CONTRIBUTING.md)"
    );
    eprintln!("left out by TESTS_WITHOUT_WALLS=1: {what}");
}
